"""Checks the text in PNG files with Pillow. usage: FOLDER EXPECTED.json, which is {"FILE": {"KEY": "VALUE"}}"""
import json
import sys

from PIL import Image

folder, expected = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
for name, text in expected.items():
    picture = Image.open(f"{folder}/{name}")
    for key, value in text.items():
        assert picture.text.get(key) == value, (name, key, picture.text.get(key), value)
    for key, value in picture.text.items():
        assert key.isascii() and "\ufffd" not in value, (name, key, value)
    picture.load()
