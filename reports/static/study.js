"use strict";
// A rater's page: pairs one after the other, choices by mouse, touch and keys, answers kept in this browser and saved as a file.
(() => {
  const REST = 200; // milliseconds after a pair appears in which a choice does not count, so that no key counts twice
  const study = JSON.parse(document.getElementById("study").textContent);
  const byId = (id) => document.getElementById(id);
  const place = `invbench study ${study.study} ${study.page}`;
  let answers = kept(); // [trial, choice, ms] in the order of the trials
  let since = Infinity;

  function kept() {
    try {
      const found = JSON.parse(localStorage.getItem(place)) ?? [];
      return found.every(([trial], index) => trial === study.trials[index]?.[0]) ? found : [];
    } catch {
      return [];
    }
  }
  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(answers));
    } catch { /* a browser that keeps nothing: the answers live as long as the page */ }
  }

  const right = (value, by) => (value >>> by) | (value << (32 - by));
  function sha256(text) {
    const primes = [];
    for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
    const bits = (root) => Math.floor((root % 1) * 2 ** 32) | 0; // the first 32 bits behind the point
    const constants = primes.map((prime) => bits(Math.cbrt(prime)));
    const state = primes.slice(0, 8).map((prime) => bits(Math.sqrt(prime)));
    const bytes = new TextEncoder().encode(text);
    const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
    view.setUint32(padded.length - 4, (bytes.length * 8) >>> 0);
    const words = new Int32Array(64);
    for (let start = 0; start < padded.length; start += 64) {
      for (let i = 0; i < 64; i++) {
        if (i < 16) { words[i] = view.getInt32(start + 4 * i); continue; }
        const [a, b] = [words[i - 15], words[i - 2]];
        words[i] = words[i - 16] + (right(a, 7) ^ right(a, 18) ^ (a >>> 3)) + words[i - 7] + (right(b, 17) ^ right(b, 19) ^ (b >>> 10));
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i++) {
        const one = (h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + words[i]) | 0;
        const two = ((right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((value, i) => { state[i] = (state[i] + value) | 0; });
    }
    return state.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  function file() {
    const lines = [study.secret, "invbench study 1", study.study, study.page, ...answers.map((answer) => answer.join(" "))];
    const found = answers.map(([trial, choice, ms]) => ({ trial, choice, ms }));
    return JSON.stringify({ format: 1, study: study.study, page: study.page, answers: found, seal: sha256(lines.join("\n")) }, null, 1);
  }

  const section = (id) => ["begin", "pairs", "end"].forEach((one) => { byId(one).hidden = one !== id; });
  const source = (token) => `data:image/png;base64,${study.pictures[token]}`;
  async function show() {
    since = Infinity;
    if (answers.length === study.trials.length) return finish();
    const [, question, original, left, side] = study.trials[answers.length];
    section("pairs");
    byId("question").textContent = study.questions[question];
    byId("count").textContent = `Pair ${answers.length + 1} of ${study.trials.length}`;
    byId("progress").value = answers.length;
    byId("back").disabled = answers.length === 0;
    const pictures = { "left-picture": left, original, "right-picture": side };
    for (const [id, token] of Object.entries(pictures)) byId(id).src = source(token);
    await Promise.all(Object.keys(pictures).map((id) => byId(id).decode().catch(() => {})));
    since = performance.now();
  }
  function choose(side) {
    const ms = Math.round(performance.now() - since);
    if (byId("pairs").hidden || !(ms >= REST)) return;
    answers.push([study.trials[answers.length][0], side, ms]);
    keep();
    show();
  }
  function back() {
    if (!answers.length) return;
    answers.pop();
    keep();
    show();
  }
  function finish() {
    section("end");
    const text = file();
    byId("text").value = text;
    byId("save").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    byId("save").download = `answers-${study.study}-${study.page}.json`;
    byId("thanks").focus();
  }

  byId("start").textContent = answers.length ? "Go on" : "Start";
  byId("start").addEventListener("click", show);
  byId("left").addEventListener("click", () => choose("left"));
  byId("right").addEventListener("click", () => choose("right"));
  for (const id of ["back", "again"]) byId(id).addEventListener("click", back);
  const keys = { ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), ArrowUp: back };
  document.addEventListener("keydown", (event) => {
    if (byId("pairs").hidden || event.repeat || event.altKey || event.ctrlKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
})();
