"""A headless Chromium, spoken to over a pipe by its DevTools protocol: no driver, no library."""

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

PATIENCE_S = 60  # how long a test waits for anything before it fails


class Browser:
    def __init__(self):
        program = shutil.which("chromium")
        assert program, "chromium is missing: run scripts/test-browser, which installs it"
        self._profile = tempfile.TemporaryDirectory(prefix="flowawr-browser", ignore_cleanup_errors=True)
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        # Descriptors that are not 3 and 4 themselves, so that neither dup2 closes what the other needs.
        reads, writes = os.dup2(reads, 103, inheritable=True), os.dup2(writes, 104, inheritable=True)

        def place():
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._log = open(os.path.join(self._profile.name, "log"), "w")
        self._process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
             "--no-first-run", "--disable-background-networking", f"--user-data-dir={self._profile.name}",
             "about:blank"],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        os.close(reads)
        os.close(writes)
        self._next, self._answers = 1, queue.Queue()
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    _session = None

    def _read(self):
        rest = b""
        while block := os.read(self._from, 1 << 16):
            *whole, rest = (rest + block).split(b"\0")
            for text in whole:
                message = json.loads(text)
                if "id" in message:
                    self._answers.put(message)
                else:
                    self.events.append(message)

    def call(self, method, **parameters):
        number, self._next = self._next, self._next + 1
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._answers.get(timeout=PATIENCE_S))["id"] != number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression):
        """Until the expression is true in the page; its value."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                if value := self.value(expression):
                    return value
            except AssertionError:
                pass  # the page is not there yet
            time.sleep(0.05)
        raise AssertionError(f"{expression} did not become true; the page: "
                             f"{self.value('document.body.innerText')[:2000]}")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def troubles(self):
        """What the page's console complained of: exceptions, refused loads, failed requests."""
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"].get("text", "") + str(event["params"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(str(event["params"]["entry"]))
        return found

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._profile.cleanup()
