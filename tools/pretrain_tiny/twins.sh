#!/usr/bin/env bash
# Makes models/tiny-shapes and models/tiny-rewards: the generator of the shapes world, then both reward models. What is
# there in WORK is not made again, and what was stopped goes on. Needs: .venv/bin/pip install scipy
# usage: tools/pretrain_tiny/twins.sh WORK [MODELS]
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:?usage: tools/pretrain_tiny/twins.sh WORK [MODELS]} models=${2:-models}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
mkdir -p "$work/rewards"
tiny=tools/pretrain_tiny python=.venv/bin/python
$python $tiny/train.py --world shapes --work "$work/shapes" --out "$models/tiny-shapes" --vae-steps 900 --pictures 16000 --batch 32 --steps 2200
$python $tiny/detector.py --work "$work/rewards" --pipeline "$models/tiny-shapes" --out "$models/tiny-rewards/detector"
$python $tiny/clip.py --work "$work/rewards" --words models/tiny-sd3 --shapes "$models/tiny-shapes" --out "$models/tiny-rewards/clip"
$python $tiny/geneval.py "$models/tiny-shapes" --rewards "$models/tiny-rewards"
