/** The page: opens a world, and lets hands, time and pictures meet. */

import { Controls, keycap } from "./controls.js";
import { element, find } from "./elements.js";
import { Handles } from "./handles.js";
import { Hands } from "./hands.js";
import { Physics, Telemetry } from "./panel.js";
import { Plans } from "./plans.js";
import { Player } from "./player.js";
import { Saving } from "./saving.js";
import { Screen } from "./screen.js";
import { Takes } from "./takes.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

const LAST_SEED = 199_999; // of those for play; the ones after it are for measurements

const TROUBLE = {
  unknown_session: "This world was put away, as nobody played for a while: begin a new start",
};

const say = (text) => (find("status").textContent = text);

async function main() {
  const { open } = await import(document.documentElement.dataset.world);
  const world = await open();
  const { about } = world;
  document.title = `${about.model} · a learned world`;
  find("model").textContent = about.model;
  models(about);

  const controls = new Controls(about);
  const player = new Player(world, controls);
  const hands = new Hands(find("hands"), controls);
  const view = new View(player);
  const timeline = new Timeline(find("curve"), find("scrub"), player);
  const handles = new Handles(find("handles"), view.learned.main, player);
  const plans = new Plans(player, view, handles, timeline);
  new Takes(find("takes"), player);
  new Physics(find("physics-card"), find("physics"), player);
  new Telemetry(find("telemetry"), player);
  new Saving(player, say);
  const begin = starts(player, about);
  player.addEventListener("show", () => hands.show(player.moment.action ?? controls.held));
  player.addEventListener("trouble", ({ detail }) => say(TROUBLE[detail.code] ?? detail.message));
  controls.addEventListener("change", () => hands.show(controls.held));
  transport(player);
  keyboard(player, controls, plans, begin);
  pace(player);
  world.events?.addEventListener("lost", () => say("The connection is lost; trying again"));
  world.events?.addEventListener("open", () => say(""));
  world.events?.addEventListener("refused", () => say("The server was started anew: open the address that it prints"));

  player.addEventListener("takes", () => {
    if (!find("main").hidden) return;
    find("main").hidden = false;
    say(greeting(about));
  });
  await begin();
}

/** What one can do here, to begin with. */
function greeting({ plans }) {
  return plans ? "Press a key to drive, or drag a thing to where it should be" : "Press a key to drive";
}

/** A choice, where there is more than one model. */
function models({ model, models = [] }) {
  const choice = find("models");
  for (const name of models) choice.append(new Option(name, name, false, name === model));
  choice.hidden = models.length < 2;
  find("model").hidden = !choice.hidden;
  choice.addEventListener("change", () => (location.search = new URLSearchParams({ model: choice.value })));
}

/** Tasks, seeds, and what begins a run; returns that. */
function starts(player, about) {
  const [seed, task, twin] = [find("seed"), find("task"), find("with-twin")];
  for (const name of about.tasks) task.append(new Option(name, name, false, name === about.task));
  find("task-row").hidden = about.tasks.length < 2;
  twin.checked = Boolean(about.twin);
  const begin = async () => {
    const options = { seed: Number(seed.value) || 0, twin: twin.checked };
    await player.begin(task.value ? { ...options, task: task.value } : options);
  };
  const next = async () => {
    seed.value = (Number(seed.value) + 1) % (LAST_SEED + 1);
    await begin();
    say(`Start ${seed.value}`);
  };
  for (const changed of [seed, task, twin]) changed.addEventListener("change", begin);
  find("anew").addEventListener("click", next);
  let first = true;
  return () => (first ? ((first = false), begin()) : next());
}

function transport(player) {
  const play = find("play");
  play.addEventListener("click", () => (player.playing ? player.pause() : player.play()));
  find("step").addEventListener("click", () => player.step());
  find("back").addEventListener("click", () => player.seek(player.seen - 1));
  find("branch").addEventListener("click", () => branch(player));
  find("speed").addEventListener("change", ({ target }) => (player.speed = Number(target.value)));
  player.addEventListener("state", () => {
    play.classList.toggle("playing", player.playing);
    play.querySelector("span").textContent = player.playing ? "Pause" : "Play";
  });
  document.addEventListener("visibilitychange", () => document.hidden && player.pause());
}

async function branch(player) {
  const step = player.seen;
  await player.branch();
  if (player.take.parent?.step === step) say(`Take ${player.take.number} goes on from step ${step}`);
}

/** What keys do beside driving, by `key` of the event: how they are written, and what for. */
const SHORTCUTS = {
  " ": ["Space", "open or close what grips"],
  p: ["P", "play or pause"],
  ",": [",", "one step back"],
  ".": [".", "one step"],
  b: ["B", "branch from this moment"],
  n: ["N", "next start"],
  z: ["Z", "record, and end that"],
  v: ["V", "difference from the twin"],
  m: ["M", "keys move other actions"],
  Escape: ["Esc", "pause; discard a plan"],
  "?": ["?", "these keys"],
};

function keyboard(player, controls, plans, begin) {
  const does = {
    " ": () => controls.switch(),
    p: () => (player.playing ? player.pause() : player.play()),
    ",": () => player.seek(player.seen - 1),
    ".": () => player.step(),
    b: () => branch(player),
    n: begin,
    z: () => find("record").hidden || find("record").click(),
    v: () => find("with-difference").offsetParent && find("with-difference").click(),
    m: () => controls.nextGroup(),
    Escape: () => (player.playing ? player.pause() : plans.drop()),
    "?": showKeys,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("keys").open) return;
    if (!player.take || belongsTo(event.target, event.key)) return;
    if (controls.press(event)) {
      event.preventDefault();
      drive(player);
      return;
    }
    const work = does[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!work || event.repeat) return;
    event.preventDefault();
    work();
  });
  document.addEventListener("keyup", (event) => controls.release(event));
  addEventListener("blur", () => controls.rest());
  controls.addEventListener("change", () => controls.active && drive(player));
  controls.addEventListener("press", ({ detail }) => {
    const work = { switch: does[" "], group: does.m, anew: begin, play: does.p }[detail];
    work();
  });
  setInterval(() => {
    if (player.playing) return;
    controls.poll();
    if (controls.active) drive(player);
  }, 100); // a gamepad says nothing by itself
  const rows = controls.axes.map(({ name, raise, lower }) => [[...lower, ...raise].map(keycap).join(" "), name]);
  const had = {
    " ": controls.switches.length,
    v: player.world.about.twin,
    z: !find("record").hidden,
    m: controls.groups.length > 1,
  };
  const shortcuts = Object.entries(SHORTCUTS).filter(([key]) => had[key] ?? true);
  for (const [keys, meaning] of [...rows, ...shortcuts.map(([, told]) => told)]) {
    const caps = keys.split(" ").map((key) => element("kbd", {}, [key]));
    find("keys-list").append(element("dt", {}, caps), element("dd", {}, [meaning]));
  }
  find("help").addEventListener("click", showKeys);
}

const showKeys = () => find("keys").showModal();

/** Whether a key means something to the element that has the focus. */
function belongsTo(target, key) {
  if (target.matches("input[type=number], select, textarea, .handle")) return true;
  if (target.matches("input[type=range]")) return key.length > 1;
  return target.matches("button, summary, input") && (key === " " || key === "Enter");
}

/** Hands that move make time go on, in the present. */
function drive(player) {
  if (player.playing || !player.take || player.queue.length) return;
  if (player.live) {
    say("");
    player.play();
  } else say(`This is step ${player.seen}: branch here (B), or play to the present (P)`);
}

/** Steps per second of the last second. */
function pace(player) {
  const times = [];
  player.addEventListener("stepped", () => {
    const now = performance.now();
    times.push(now);
    while (times[0] < now - 1000) times.shift();
    if (player.playing) find("pace").textContent = `${times.length} Hz`;
  });
  player.addEventListener("state", () => {
    times.length = 0;
    if (!player.playing) find("pace").textContent = "–";
  });
}

main().catch((error) => {
  say(error.message);
  find("status").classList.add("trouble");
  throw error;
});
