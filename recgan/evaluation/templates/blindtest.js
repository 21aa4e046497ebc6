"use strict";
// Votes are kept in the browser as they are given, and sent to the server that the page came from, if it takes them.
// Without one (the page opened as a file) they are downloaded at the end.
(() => {
  const test = JSON.parse(document.getElementById("test").textContent);
  const at = (id) => document.getElementById(id);
  const place = `recgan-blindtest-${test.id}`;

  const load = () => {
    try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
  };
  const token = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  // votes: by trial; unsent: trials whose vote no server has yet; told: whether the second question was introduced.
  const state = load() || { person: token(), votes: {}, unsent: [], begun: false, told: false };
  const keep = () => {
    try { localStorage.setItem(place, JSON.stringify(state)); } catch { /* a private window: nothing outlives it */ }
  };

  // Order and sides follow from the person, so that they are the same when the page is opened again, and even out over people.
  const random = (text) => {
    let hash = 2166136261;
    for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619) >>> 0;
    return () => {  // mulberry32
      hash = (hash + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(hash ^ (hash >>> 15), hash | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  };
  const shuffled = (values, draw) => {
    const out = [...values];
    for (let last = out.length - 1; last > 0; last--) {
      const other = Math.floor(draw() * (last + 1));
      [out[last], out[other]] = [out[other], out[last]];
    }
    return out;
  };
  const draw = random(state.person);
  const trials = [...shuffled(test.pairs, draw), ...shuffled(test.singles, draw)]
    .map((trial) => ({ ...trial, pictures: shuffled(trial.pictures, draw) }));

  let number = trials.findIndex((trial) => !(trial.id in state.votes));
  if (number < 0) number = trials.length;
  let shownAt = 0;
  let choices = [];  // of the trial on the screen: { answer, side, keys, button }

  const show = (name) => {
    for (const id of ["start", "middle", "trial", "end"]) at(id).hidden = id !== name;
    at("progress").hidden = name === "start";
    at("progress").setAttribute("aria-valuenow", Object.keys(state.votes).length);
    at("progress").firstElementChild.style.width = `${100 * Object.keys(state.votes).length / trials.length}%`;
  };

  const picture = (from, alt) => {
    const image = new Image(test.size, test.size);
    image.src = from.src;
    image.alt = alt;
    return image;
  };
  const button = (text, parent) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    parent.append(made);
    return made;
  };

  const ask = () => {
    if (!state.begun) return show("start");
    if (number >= trials.length) return finish();
    if (number >= test.pairs.length && !state.told) return show("middle");
    const trial = trials[number];
    at("pictures").replaceChildren();
    at("answers").replaceChildren();
    at("pictures").className = trial.pictures.length === 1 ? "single" : "";
    const step = ` (${number + 1} of ${trials.length})`;
    if (trial.pictures.length === 2) {
      at("question").textContent = "Which would you stock?" + step;
      at("keys").textContent = "Keys: ← left, → right, ↓ neither, Backspace back";
      choices = trial.pictures.map((one, index) => {
        const side = index ? "right" : "left";
        const made = button("", at("pictures"));
        made.append(picture(one, `The ${side} product`));
        made.setAttribute("aria-label", `The ${side} one`);
        return { answer: one.id, side, keys: index ? ["ArrowRight", "2"] : ["ArrowLeft", "1"], button: made };
      });
      choices.push({ answer: "neither", side: "", keys: ["ArrowDown", "0"], button: button("Neither", at("answers")) });
    } else {
      at("question").textContent = "Real or designed?" + step;
      at("keys").textContent = "Keys: ← or R real, → or D designed, ↓ cannot say, Backspace back";
      const card = document.createElement("div");
      card.append(picture(trial.pictures[0], "A product"));
      at("pictures").append(card);
      choices = [["real", "Real", ["ArrowLeft", "r"]], ["designed", "Designed", ["ArrowRight", "d"]], ["unsure", "Cannot say", ["ArrowDown", "0"]]]
        .map(([answer, text, keys]) => ({ answer, side: "", keys, button: button(text, at("answers")) }));
    }
    for (const choice of choices) choice.button.addEventListener("click", () => vote(choice));
    at("back").hidden = number === 0;
    show("trial");
    at("main").focus({ preventScroll: true });
    shownAt = performance.now();
  };

  const vote = (choice) => {
    const seconds = Math.min(86400, Math.round(performance.now() - shownAt) / 1000);
    const trial = trials[number].id;
    state.votes[trial] = { test: test.id, person: state.person, trial, answer: choice.answer, side: choice.side, seconds };
    if (!state.unsent.includes(trial)) state.unsent.push(trial);
    keep();
    number += 1;
    send();
    ask();
  };
  const back = () => {
    if (number > 0) { number -= 1; ask(); }
  };

  let sending = false;
  const send = async () => {
    if (sending || !location.protocol.startsWith("http")) return;
    sending = true;
    try {
      while (state.unsent.length) {
        const trials = [...state.unsent];
        const votes = trials.map((trial) => state.votes[trial]);
        const answer = await fetch("votes", {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ votes }),
        });
        if (!answer.ok) break;
        // What was changed meanwhile is sent again.
        state.unsent = state.unsent.filter((trial) => !trials.includes(trial) || state.votes[trial] !== votes[trials.indexOf(trial)]);
        keep();
      }
    } catch { /* no server: the votes stay, and the end says so */ }
    sending = false;
    if (!at("end").hidden) told();
  };

  const told = () => {
    const waiting = state.unsent.length;
    at("saved").textContent = waiting
      ? `${waiting} of your ${trials.length} votes lie in this browser only. Please download them, and hand the file to whoever asked you.`
      : `All ${trials.length} votes were saved. You may close this page.`;
    at("download").className = waiting ? "main" : "plain";
    at("again").hidden = !waiting || !location.protocol.startsWith("http");
  };
  const finish = () => {
    show("end");
    told();
    at("main").focus({ preventScroll: true });
    send();
  };

  at("begin").addEventListener("click", () => { state.begun = true; keep(); ask(); });
  at("go-on").addEventListener("click", () => { state.told = true; keep(); ask(); });
  at("back").addEventListener("click", back);
  at("again").addEventListener("click", send);
  at("download").addEventListener("click", () => {
    const votes = { test: test.id, person: state.person, votes: Object.values(state.votes) };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(votes, null, 1)], { type: "application/json" }));
    link.download = `votes-${state.person.slice(0, 8)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || at("trial").hidden) return;
    if (event.key === "Backspace") { event.preventDefault(); return back(); }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const choice = choices.find((one) => one.keys.includes(key));
    if (choice) { event.preventDefault(); vote(choice); }
  });
  ask();
})();
