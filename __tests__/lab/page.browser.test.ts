/**
 * The laboratory's page in a real browser: what it shows is what happens, by mouse, keyboard and screen reader, on a
 * phone, light and dark.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { Lab } from "../../lab/lab";
import { servePage } from "../../lab/page-server";
import { scenarios } from "../../lab/scenarios/built-in";
import { bundlePath } from "../helpers/bundle";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);
/** Screenshots for people to look at, in the folder that SCREENSHOTS names. docs/images keeps the one that is shown. */
const shoot = async (page: Page, name: string) => {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
};

(executablePath ? describe : describe.skip)(
  `the page (${executablePath ?? "no Chromium on this machine: skipped"})`,
  () => {
    let lab: Lab;
    let served: Awaited<ReturnType<typeof servePage>>;
    let browser: Browser;
    const foreign: string[] = [];
    const errors: string[] = [];

    const open = async (options: Parameters<Browser["newContext"]>[0] = {}): Promise<Page> => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
      const page = await context.newPage();
      page.on("request", (request) => {
        if (!request.url().startsWith(served.url) && !request.url().startsWith("data:")) foreign.push(request.url());
      });
      page.on("pageerror", (error) => errors.push(error.message));
      page.on("console", (message) => void (message.type() === "error" && errors.push(message.text())));
      await page.goto(served.url);
      await page.getByRole("heading", { name: /Laboratory of baker/ }).waitFor();
      return page;
    };
    const closedReceipt = (page: Page, title: RegExp) =>
      page.locator("section[data-receipt=closed]").filter({ hasText: title }).waitFor({ timeout: 120_000 });

    beforeAll(async () => {
      lab = await Lab.start({ blockMs: 3000, tog: await bundlePath(), seed: "page" });
      served = await servePage(lab, { port: 0, scenarios });
      await lab.ready(120_000);
      browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    });
    afterAll(async () => {
      await browser?.close();
      served?.close();
      await lab?.stop();
    });

    test("a kill and a planned switchover are done by buttons and explained by receipts", async () => {
      const page = await open();
      await page
        .getByText(/alice-as-\d signs/)
        .first()
        .waitFor();
      await lab.sleep(30_000);
      await shoot(page, "laboratory");
      const first = lab.activePod();

      await page.getByRole("button", { name: "Kill the master's pod" }).click();
      await closedReceipt(page, /Kill a pod/);
      const second = lab.activePod();
      const receipt = page.locator("section[data-receipt]");
      await expect(receipt.locator(".sentence").textContent()).resolves.toMatch(
        new RegExp(`^Kill a pod \\(${first}\\): ${second} took over after .* missed \\(goal: at most 2\\)\\.$`),
      );
      expect(second).not.toBe(first);
      for (const name of ["lease over", "acquired", "gate open", "daemon ready", "first signature"])
        await expect(receipt.locator(".phases").textContent()).resolves.toContain(name);
      // The events are there for whoever asks.
      await expect(receipt.locator(".figures").textContent()).resolves.toMatch(
        /missed levels?, the goal is at most \d/,
      );
      await expect(receipt.getByRole("table").isVisible()).resolves.toBe(false);
      await receipt.getByText(/\d+ events/).click();
      await expect(receipt.getByRole("table").isVisible()).resolves.toBe(true);
      expect(lab.verdict()).toEqual([]);
      await shoot(page, "laboratory-pod-kill");

      await lab.until(
        "both are ready again",
        () =>
          lab.cluster.bakingMembers().length === 2 && lab.cluster.bakingMembers().every((member) => member.pod.ready),
        120_000,
      );
      await lab.sleep(6000);
      await page.getByRole("button", { name: "Planned switchover" }).click();
      await closedReceipt(page, /Planned switchover/);
      expect(lab.activePod()).toBe(first);
      await expect(receipt.textContent()).resolves.toContain("an operator asked for it");
      // Each event of the log has a sentence.
      const silent = await page
        .locator("[data-event]")
        .evaluateAll((rows) => rows.map((row) => row.getAttribute("data-event")));
      expect(silent).toEqual([]);
      await shoot(page, "laboratory-switchover");
      await page.context().close();
    });

    test("everything can be done with the keyboard, and each control has a name", async () => {
      const page = await open();
      const unnamed = await page.evaluate(
        `[...document.querySelectorAll("button, select, input")].filter((control) => !(control.labels?.length || control.textContent.trim() || control.getAttribute("aria-label"))).length`,
      );
      expect(unnamed).toBe(0);
      await page.keyboard.press("Tab");
      await expect(page.evaluate("document.activeElement.textContent")).resolves.toBe("To the content");
      const focused = () => page.evaluate("document.activeElement.textContent.trim()");
      for (let i = 0; i < 40 && (await focused()) !== "Halt the chain"; i++) await page.keyboard.press("Tab");
      await expect(focused()).resolves.toBe("Halt the chain");
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: /End: The chain halts/ }).waitFor();
      expect(lab.chain.halted).toBe(true);
      await page.getByRole("button", { name: /End: The chain halts/ }).press("Enter");
      await lab.until("the chain goes on", () => !lab.chain.halted, 10_000);
      // Landmarks, headings and the live region that says who signs.
      await expect(page.getByRole("main").count()).resolves.toBe(1);
      await expect(page.getByRole("heading", { level: 2 }).count()).resolves.toBeGreaterThan(5);
      await expect(page.locator("[role=status]").first().textContent()).resolves.toMatch(/signs/);
      await expect(page.locator(".chain li .visually-hidden").last().textContent()).resolves.toMatch(/^Level \d+/);
      await page.context().close();
    });

    test("the headline says why nobody signs, and the picture where", async () => {
      const page = await open();
      await page.locator("[data-fault=api-outage]").click();
      await page
        .getByText(/^Nobody signs: the Kubernetes API has not answered for \d+ s$/)
        .first()
        .waitFor();
      await expect(page.locator(".picture .place").first().textContent()).resolves.toContain("does not answer");
      await expect(page.locator(".picture .way.cut").count()).resolves.toBeGreaterThan(1);
      // A second fault has a receipt of its own.
      const before = (await page.locator("section[data-receipt] option").count()) || 1;
      await page.locator("[data-fault=kill-daemon]").click();
      await page.getByRole("button", { name: /End: API unreachable/ }).click();
      await page
        .getByText(/alice-as-\d signs/)
        .first()
        .waitFor({ timeout: 60_000 });
      await expect(page.locator("section[data-receipt] option").count()).resolves.toBeGreaterThanOrEqual(before);
      expect(lab.verdict()).toEqual([]);
      await page.context().close();
    });

    test.each([1440, 768, 390])("at %d pixels nothing scrolls sideways and no word is broken", async (width) => {
      const page = await open({ viewport: { width, height: 900 } });
      await page.locator(".picture").waitFor();
      await expect(page.evaluate("document.documentElement.scrollWidth")).resolves.toBeLessThanOrEqual(width);
      // What is as wide as its longest word fits.
      const cut = await page.evaluate(
        `[...document.querySelectorAll("main p, main dd, main dt, main b, main span, main li, main button, main summary")].filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && !element.closest(".scroll, .visually-hidden, .chain, .uplot")).map((element) => element.outerHTML.slice(0, 120))`,
      );
      expect(cut).toEqual([]);
      // A level's number below any cell of the chain lies within its card, whichever levels have one just now.
      const outside = await page.evaluate(`(() => {
        const chain = document.querySelector(".chain");
        while (chain.children.length < 60) chain.append(chain.lastElementChild.cloneNode(true));
        const card = chain.closest("section").getBoundingClientRect();
        return [...chain.children].flatMap((cell, i) => {
          let tick = cell.querySelector(".tick");
          if (!tick) cell.append((tick = Object.assign(document.createElement("div"), { className: "tick" })));
          tick.textContent = "3200000";
          const range = document.createRange();
          range.selectNodeContents(tick);
          const { left, right, width } = range.getBoundingClientRect();
          // A phone shows only the last forty.
          return width > 0 && (left < card.left || right > card.right) ? [i] : [];
        });
      })()`);
      expect(outside).toEqual([]);
      await page.context().close();
    });

    test("a phone shows it without sideways scrolling, and the dark scheme is dark", async () => {
      const page = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2 });
      await page.locator(".picture").waitFor();
      const { width, background } = (await page.evaluate(
        `({ width: document.documentElement.scrollWidth, background: getComputedStyle(document.body).backgroundColor })`,
      )) as { width: number; background: string };
      const wide = await page.evaluate(
        `[...document.querySelectorAll("main *")].filter((element) => element.getBoundingClientRect().right > 391 && !element.closest(".scroll")).map((element) => element.tagName + "." + element.className).slice(0, 5)`,
      );
      expect(wide).toEqual([]);
      expect(width).toBeLessThanOrEqual(390);
      expect(background).toBe("rgb(16, 21, 27)");
      await shoot(page, "laboratory-phone-dark");
      await page.context().close();
    });

    test("it works without the internet and without errors", () => {
      expect(foreign).toEqual([]);
      expect(errors).toEqual([]);
    });

    test("another site cannot use it", async () => {
      const body = JSON.stringify({ name: "kill-pod" });
      const headers = { "content-type": "application/json", origin: "http://evil.example" };
      await expect(
        fetch(`${served.url}/fault`, { method: "POST", body, headers }).then((answer) => answer.status),
      ).resolves.toBe(403);
      await expect(
        fetch(`${served.url}/fault`, { method: "POST", body, headers: { "content-type": "text/plain" } }).then(
          (answer) => answer.status,
        ),
      ).resolves.toBe(404);
    });
  },
);
