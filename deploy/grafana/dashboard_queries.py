"""What the boards ask of Prometheus, with Grafana's variables filled in: for the tests and draw_dashboards.py."""
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(__file__).parent / "dashboards"


def boards(folder=FOLDER):
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def fill_in(expression, run=".*", instance=".*", interval="1m"):
    for name, value in (("$__rate_interval", interval), ("$run", run), ("$instance", instance), ("$core_hour", "0.05")):
        expression = expression.replace(name, value)
    return expression


class Prometheus:
    """Its HTTP API."""

    def __init__(self, address):
        self.address = address

    def get(self, path, **parameters):
        """The answer's data. RuntimeError with Prometheus' own words when it refuses, OSError while it is not there."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            is_starting = error.code == 503
            kind = ConnectionError if is_starting else RuntimeError
            raise kind(error.read().decode(errors="replace")) from error

    def query(self, expression, **at):
        """By label set: [(labels, value)], values that are not NaN; now, or as of `time`."""
        result = self.get("query", query=expression, **at)["result"]
        return [(one["metric"], float(one["value"][1])) for one in result if one["value"][1] != "NaN"]

    def range(self, expression, start, end, step):
        """[(labels, [(time, value)])]"""
        result = self.get("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [(one["metric"], [(t, float(v)) for t, v in one["values"]]) for one in result]


def legend(format_, labels):
    for name, value in labels.items():
        format_ = format_.replace("{{" + name + "}}", value)
    return format_
