import { World } from "../../../lab/checker/schedules/world";
import { Process } from "../../../lab/simulation/process";
import { installVirtualTimers } from "../../../lab/simulation/virtual-timers";

let world: World;
let putBack: () => void;
beforeEach(() => {
  world = new World(1);
  putBack = installVirtualTimers(world);
});
afterEach(() => putBack());

const processOf = (rate = 1) => new Process("daemon", world, { rate, startMs: 500, wallSkewMs: 0 });

test("timers fire in virtual time, in order, and not once they are cleared", async () => {
  const fired: string[] = [];
  setTimeout(() => fired.push(`late at ${world.now}`), 3_600_000);
  setTimeout(() => fired.push(`early at ${world.now}`), 10);
  const every = setInterval(() => fired.push(`every at ${world.now}`), 40);
  setTimeout(() => clearInterval(every), 100);
  clearTimeout(setTimeout(() => fired.push("cleared"), 5));
  await world.run(3_600_000);
  expect(fired).toEqual(["early at 10", "every at 40", "every at 80", "late at 3600000"]);
});

test("what an event has caused is settled before the next one", async () => {
  const order: string[] = [];
  setTimeout(() => {
    void (async () => {
      for (let i = 0; i < 5; i++) await Promise.resolve();
      order.push("settled");
    })();
  }, 10);
  setTimeout(() => order.push("next"), 10);
  await world.run(20);
  expect(order).toEqual(["settled", "next"]);
});

test("a timer waits while its process is stopped, and can be cleared until it goes on", async () => {
  const fired: string[] = [];
  const daemon = processOf();
  daemon.deliver(() => {
    setTimeout(() => fired.push(`kept at ${world.now}`), 10);
    const cleared = setTimeout(() => fired.push("cleared"), 20);
    world.after(50, () => clearTimeout(cleared));
  });
  daemon.stop();
  world.after(100, () => daemon.resume());
  await world.run(200);
  expect(fired).toEqual(["kept at 100"]);
});

test("a timer dies with its process, and ticks at the rate of its clock", async () => {
  const fired: string[] = [];
  const [dead, fast] = [processOf(), processOf(2)];
  dead.deliver(() => setTimeout(() => fired.push("dead"), 10));
  dead.end();
  fast.deliver(() => setTimeout(() => fired.push(`fast at ${world.now}, its clock ${fast.clock.now()}`), 100));
  await world.run(200);
  expect(fired).toEqual(["fast at 50, its clock 600"]);
});

test("what a process does later in its turn is its own, although another one is delivered to in between", async () => {
  const fired: string[] = [];
  const [first, second] = [processOf(), processOf()];
  world.after(10, () => {
    first.deliver(() => {
      void Promise.resolve().then(() => setTimeout(() => fired.push("first"), 10));
    });
    second.deliver(() => fired.push(`second at ${world.now}`));
  });
  world.after(15, () => second.end());
  await world.run(100);
  expect(fired).toEqual(["second at 10", "first"]);
});

test("AbortSignal.timeout is virtual, too", async () => {
  const signal = AbortSignal.timeout(1000);
  await world.run(999);
  expect(signal.aborted).toBe(false);
  await world.run(1000);
  expect(signal.aborted).toBe(true);
});
