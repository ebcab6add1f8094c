#!/usr/bin/env python3
"""Opens an HTML page in headless Chromium and says as JSON how it came out.

    tools/render_report.py PAGE.html [--width 1280] [--theme light|dark] [--screenshot F.png [--top 0] [--height 0]]
                                [--evaluate JS]...

Needs Python's standard library and Chromium (chromium, chromium-browser, google-chrome, or $CHROMIUM), which is driven
over a pipe with the Chrome DevTools protocol. The JSON on standard output has: width, scroll_width (wider than width:
the page overflows), overflowing (visible elements that stick out of the page), plots (visible ones with their sizes and
smallest text in pixels), errors (console errors, exceptions, policy violations), requests (addresses other than the
page itself) and results (one for each --evaluate). Exit code 3: there is no Chromium.
"""

import argparse
import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

TIME_LIMIT = 120  # seconds for all that one call does

MEASURE = """(() => {
  const shown = e => e.getClientRects().length > 0;
  const inScroller = e => e.parentElement && e.parentElement.closest('.scroll');
  const width = document.documentElement.clientWidth;
  const text = svg => Math.min(...[...svg.querySelectorAll('text')].map(t => {
    const m = t.getScreenCTM(); return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b); }));
  const cut = svg => { const b = svg.getBoundingClientRect(); return [...svg.querySelectorAll('text')].filter(t => {
    const r = t.getBoundingClientRect(); return r.left < b.left - 2 || r.right > b.right + 2 || r.bottom > b.bottom + 2; })
    .map(t => t.textContent); };
  return {
    width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    overflowing: [...document.querySelectorAll('body *')].filter(e => shown(e) && !inScroller(e) && !e.closest('svg')
      && e.getBoundingClientRect().right > width + 1).map(e => e.tagName + '.' + e.className).slice(0, 20),
    plots: [...document.querySelectorAll('svg.plot')].filter(shown).map(s => { const b = s.getBoundingClientRect();
      return {label: s.getAttribute('aria-label'), width: b.width, height: b.height, text: text(s), cut: cut(s),
              series: s.querySelectorAll('.series path').length}; }),
  };
})()"""


def find_chromium():
    candidates = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    return next((path for path in map(shutil.which, filter(None, candidates)) if path), None)


class Browser:
    """A headless Chromium that takes commands on file descriptor 3 and answers on 4, messages ending in NUL."""

    def __init__(self, executable, profile):
        read_commands, self.commands = os.pipe()
        self.answers, write_answers = os.pipe()

        def place_pipes():
            # Through high numbers first: either end may already be 3 or 4.
            high_in, high_out = os.dup2(read_commands, 103), os.dup2(write_answers, 104)
            os.dup2(high_in, 3)
            os.dup2(high_out, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--no-first-run", "--disable-background-networking", "--disable-component-update",
                 "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([executable] + flags, preexec_fn=place_pipes, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_commands)
        os.close(write_answers)
        self.buffer = b""
        self.number = 0
        self.events = []
        self.session = None
        self.deadline = time.monotonic() + TIME_LIMIT

    def receive(self):
        while b"\0" not in self.buffer:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                raise RuntimeError("Chromium does not answer")
            chunk = os.read(self.answers, 1 << 16)
            if not chunk:
                raise RuntimeError("Chromium closed the pipe")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event):
        while not any(each.get("method") == event for each in self.events):
            self.events.append(self.receive())

    def attach(self):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def evaluate(self, script):
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            return {"exception": answer["exceptionDetails"].get("exception", {}).get("description", "?")}
        return answer["result"].get("value")

    def close(self):
        try:
            self.session = None
            self.send("Browser.close")
            self.process.wait(timeout=10)
        except (RuntimeError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def problems(events):
    """Errors among what the browser reported."""
    found = []
    for event in events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            found.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            found.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            found.append(" ".join(str(argument.get("value", "")) for argument in parameters["args"]))
    return found


def render(arguments, executable):
    page = pathlib.Path(arguments.page).resolve().as_uri()
    with tempfile.TemporaryDirectory(prefix="render-report-", ignore_cleanup_errors=True) as profile:
        browser = Browser(executable, profile)
        try:
            browser.attach()
            metrics = {"width": arguments.width, "height": 900, "deviceScaleFactor": 1, "mobile": arguments.width < 600}
            browser.send("Emulation.setDeviceMetricsOverride", **metrics)
            scheme = {"name": "prefers-color-scheme", "value": arguments.theme}
            browser.send("Emulation.setEmulatedMedia", features=[scheme])
            browser.send("Page.navigate", url=page)
            browser.wait_for("Page.loadEventFired")
            result = browser.evaluate(MEASURE)
            result["results"] = [browser.evaluate(script) for script in arguments.evaluate]
            if arguments.screenshot:
                height = arguments.height or browser.send("Page.getLayoutMetrics")["cssContentSize"]["height"]
                clip = {"x": 0, "y": arguments.top, "width": arguments.width, "height": height, "scale": 1}
                image = browser.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
                pathlib.Path(arguments.screenshot).write_bytes(base64.b64decode(image["data"]))
            result["errors"] = problems(browser.events)
            requested = [e["params"]["request"]["url"] for e in browser.events
                         if e.get("method") == "Network.requestWillBeSent"]
            result["requests"] = [url for url in requested if url.split("#")[0] != page]
            return result
        finally:
            browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--screenshot", help="PNG file to write")
    parser.add_argument("--top", type=int, default=0, help="where the screenshot begins, in pixels")
    parser.add_argument("--height", type=int, default=0, help="its height; 0: to the end of the page")
    parser.add_argument("--evaluate", action="append", default=[], metavar="JS", help="expression to evaluate in the page")
    arguments = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        print("render_report: there is no Chromium (PATH): install it or set CHROMIUM", file=sys.stderr)
        return 3
    json.dump(render(arguments, executable), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
