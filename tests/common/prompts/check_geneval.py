"""Checks prompts in GenEval's format: every line's text is made anew from its clauses, by the published rules.
usage: FILE geneval|shapes"""
import collections
import json
import sys

COLORS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
RELATIONS = ["left of", "right of", "above", "below"]
NUMBERS = {2: "two", 3: "three", 4: "four"}
is_shapes = sys.argv[2] == "shapes"


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def plural(name):
    return name + ("es" if name.endswith("s") else "s")


def named(clause):
    return f"{clause['color']} {clause['class']}" if "color" in clause else clause["class"]


def check(line):
    keys = list(line)
    assert keys == ["tag", "include"] + ["exclude"] * (line["tag"] == "counting") + ["prompt"], keys
    include, tag = line["include"], line["tag"]
    for clause in include:
        assert set(clause) <= {"class", "count", "color", "position"}, clause
        assert type(clause["class"]) is str and type(clause["count"]) is int
        assert clause.get("color", "red") in COLORS
        assert clause["class"] != "person" or "color" not in clause
    for clause in include if tag != "counting" else []:
        assert clause["count"] == 1
    if tag in ("single_object", "colors"):
        (only,) = include
        assert ("color" in only) == (tag == "colors")
        text = article(named(only))
    elif tag in ("two_object", "color_attr"):
        a, b = include
        assert a["class"] != b["class"]
        assert is_shapes or tag == "two_object" or a["color"] != b["color"]
        assert all(("color" in clause) == (tag == "color_attr") for clause in include)
        text = f"{article(named(a))} and {article(named(b))}"
    elif tag == "counting":
        (only,) = include
        assert line["exclude"] == [{"class": only["class"], "count": only["count"] + 1}]
        color = only["color"] + " " if "color" in only else ""
        text = f"{NUMBERS[only['count']]} {color}{plural(only['class'])}"
    else:
        assert tag == "position", tag
        b, a = include
        relation, reference = a["position"]
        assert relation in RELATIONS and reference == 0 and "position" not in b and a["class"] != b["class"]
        text = f"{article(named(a))} {relation} {article(named(b))}"
    assert line["prompt"] == "a photo of " + text, (line["prompt"], text)


lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
for line in lines:
    check(line)
assert len({line["prompt"] for line in lines}) == len(lines), "repeated prompts"
print(dict(collections.Counter(line["tag"] for line in lines)))
