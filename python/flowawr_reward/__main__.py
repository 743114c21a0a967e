"""`python -m flowawr_reward`, the same as `flowawr-reward`."""

from .command import main

if __name__ == "__main__":
    main()
