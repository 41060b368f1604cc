"""Screenshots of a running page, for the README: `python -m tests.support.picture docs/page.png [--profile demo] [--width 1280] [--view items]`."""

import argparse
from pathlib import Path

from deploy.local.client import addresses

VIEWS = {"items": "#items", "ask": "#ask", "loop": "#loop"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--view", choices=VIEWS, default="items")
    parser.add_argument("--question", default="")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    url = addresses(args.profile)["feedback"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": args.width, "height": args.height})
        page.goto(f"{url}/{VIEWS[args.view]}")
        page.wait_for_timeout(1500)
        if args.view == "items" and args.width > 800:
            page.get_by_test_id("item").nth(3).click()
        if args.question:
            page.get_by_test_id("ask-input").fill(args.question)
            page.get_by_test_id("ask-submit").click()
            page.get_by_test_id("ask-answer").wait_for(timeout=30_000)
        page.wait_for_timeout(800)
        page.screenshot(path=args.out)
        browser.close()


if __name__ == "__main__":
    main()
