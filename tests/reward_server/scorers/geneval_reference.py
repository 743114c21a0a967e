"""GenEval's rules in plain Python, for geneval_decision_test.cc: what each of many pictures is worth.

usage: geneval_reference.py FILE     writes a list of cases: {"metadata", "objects": {class: [[x1, y1, x2, y2]...]},
                                     "colours": {class: [...]}, "exact", "correct", "graded"}
"""

import json
import random
import sys

CLASSES = ["circle", "square", "triangle", "star"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
RELATIONS = ["left of", "right of", "above", "below"]


def relations(a, b):
    centre = lambda box: ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    offset = [p - q for p, q in zip(centre(a), centre(b))]
    reduced = []
    for axis in (0, 1):
        sides = a[axis + 2] - a[axis] + b[axis + 2] - b[axis]
        size = max(abs(offset[axis]) - 0.1 * sides, 0)
        reduced.append(size if offset[axis] > 0 else -size)
    if all(abs(value) < 1e-3 for value in reduced):
        return set()
    length = (offset[0] ** 2 + offset[1] ** 2) ** 0.5
    x, y = reduced[0] / length, reduced[1] / length
    return {name for name, holds in zip(RELATIONS, (x < -0.5, x > 0.5, y < -0.5, y > 0.5)) if holds}


def is_placed(clause, objects, groups):
    relation, target = clause["position"]
    return groups[target] is not None and all(relation in relations(a, b) for a in objects for b in groups[target])


def broken_exclusions(case):
    return [c["class"] for c in case["metadata"].get("exclude", [])
            if len(case["objects"].get(c["class"], [])) >= c["count"]]


def official(case):
    groups = []
    for clause in case["metadata"]["include"]:
        count = clause["count"]
        objects = case["objects"].get(clause["class"], [])[:count]
        good = len(objects) == count
        if good and "color" in clause:
            good = case["colours"][clause["class"]][:count].count(clause["color"]) == count
        if good and "position" in clause:
            good = is_placed(clause, objects, groups)
        groups.append(objects if good else None)
    return all(group is not None for group in groups) and not broken_exclusions(case)


def strict_and_graded(case):
    groups, marks = [], []
    for clause in case["metadata"]["include"]:
        count = clause["count"]
        objects = case["objects"].get(clause["class"], [])
        mark = lambda found: 1 - abs(count - found) / count
        marks.append(mark(len(objects)))
        good = len(objects) == count
        if "color" in clause:
            fitting = case["colours"].get(clause["class"], []).count(clause["color"])
            marks.append(mark(fitting) if good else 0)
            good = good and fitting == count
        if "position" in clause:
            good = good and is_placed(clause, objects, groups)
            marks.append(1 if good else 0)
        groups.append(objects if good else None)
    broken, included = broken_exclusions(case), [c["class"] for c in case["metadata"]["include"]]
    marks += [0 if c["class"] in broken else 1
              for c in case["metadata"].get("exclude", []) if c["class"] not in included]
    return all(group is not None for group in groups) and not broken, sum(marks) / len(marks)


def draw(rng):
    kinds = rng.sample(CLASSES, rng.randint(1, 3))
    include = []
    for i, kind in enumerate(kinds):
        clause = {"class": kind, "count": rng.randint(1, 3) if rng.random() < 0.4 else 1}
        if rng.random() < 0.5:
            clause["color"] = rng.choice(COLOURS[:3])
        if i > 0 and rng.random() < 0.6:
            clause["position"] = [rng.choice(RELATIONS), rng.randrange(i)]
        include.append(clause)
    metadata = {"tag": "counting", "include": include}
    if rng.random() < 0.5:
        metadata["exclude"] = [{"class": rng.choice(CLASSES), "count": rng.randint(1, 4)}]
    objects, colours = {}, {}
    for kind in CLASSES:
        wanted = next((c for c in include if c["class"] == kind), None)
        count = wanted["count"] if wanted and rng.random() < 0.7 else rng.randint(0, 5)
        if count == 0:
            continue
        boxes = []
        for _ in range(count):
            x, y = rng.randint(0, 80), rng.randint(0, 80)
            boxes.append([x, y, x + rng.randint(1, 40), y + rng.randint(1, 40)])
        objects[kind] = boxes
        right = wanted["color"] if wanted and "color" in wanted else "red"
        colours[kind] = [right if rng.random() < 0.8 else rng.choice(COLOURS[:3]) for _ in boxes]
    return {"metadata": metadata, "objects": objects, "colours": colours}


if __name__ == "__main__":
    rng = random.Random(7)
    cases = []
    for _ in range(3000):
        case = draw(rng)
        case["exact"], case["graded"] = strict_and_graded(case)
        case["correct"] = official(case)
        cases.append(case)
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(cases, out)
