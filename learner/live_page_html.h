// The live page: one file, its style and script in it. It draws with SVG, sets text as text only, and loads nothing but
// the four addresses of learner/live_page.h. Colours are those of the report (cli/report_style.h).
#pragma once

namespace flowawr {

inline constexpr char kLivePageHtml[] = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>flowawr run</title><link rel="icon" href="data:,"><style>
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f26;--muted:#5d6673;--grid:#e3e6eb;--axis:#b4bac4;
--good:#137a41;--good-bg:#e3f5ea;--bad:#b3261e;--bad-bg:#fdebe9;--warn:#8a5300;--warn-bg:#fff3dc;--series-1:#2f6fdb;
--series-2:#d9730d;--series-3:#7a4fcf;--series-4:#0b8a83;--series-5:#64748b;--series-6:#b83280;--series-7:#5c7c12;--series-8:#a14a26}
@media(prefers-color-scheme:dark){:root{--page:#111418;--card:#1a1f26;--ink:#e8eaee;--muted:#9aa4b2;--grid:#2b323c;
--axis:#4b5563;--good:#5fd394;--good-bg:#12321f;--bad:#ff8a80;--bad-bg:#3a1a18;--warn:#ffc46b;--warn-bg:#3a2a0e;
--series-1:#6ea3ff;--series-2:#ffa24d;--series-3:#b69bff;--series-4:#4fd1c5;--series-5:#94a3b8;--series-6:#f58cc3;
--series-7:#b5d65c;--series-8:#f0a184}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 16px 56px}
h1{font-size:1.5rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:30px 0 10px}
h3{font-size:.92rem;margin:0 0 6px}
.sub{color:var(--muted);margin:0}
header{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center}
.badge{padding:2px 12px;border-radius:999px;font-weight:600;background:var(--grid)}
.badge.good{color:var(--good);background:var(--good-bg)}
.badge.bad{color:var(--bad);background:var(--bad-bg)}
.badge.warn{color:var(--warn);background:var(--warn-bg)}
#contact{margin-left:auto;color:var(--muted);font-size:.85rem}
.bar{height:8px;border-radius:4px;background:var(--grid);overflow:hidden;margin:14px 0 6px}
.bar>i{display:block;height:100%;background:var(--series-1);width:0}
.card{background:var(--card);border:1px solid var(--grid);border-radius:10px;padding:14px 16px;min-width:0}
.note{border-left:4px solid var(--series-2);margin-top:12px;overflow-wrap:anywhere}
.note.bad{border-left-color:var(--bad)}
.tiles{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(100%,160px),1fr));margin-top:16px}
.tile .name,.tile .more{color:var(--muted);font-size:.83rem}
.tile .value{font-size:clamp(1.25rem,4.4vw,1.6rem);font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.tile .value small{font-size:1rem;font-weight:500;color:var(--muted)}
.columns{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr))}
.wide{margin-bottom:12px}
svg{display:block;width:100%;overflow:visible}
svg text{font-size:12px;fill:var(--muted);font-variant-numeric:tabular-nums}
svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--axis)}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}
svg .error{fill:none;stroke-width:1.5}
svg .dot{fill:var(--card);stroke-width:2.5}
svg .mark{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
svg .cursor{stroke:var(--axis);visibility:hidden}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;color:var(--muted);font-size:.83rem;margin:6px 0 0;min-height:1.5em}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.legend b{color:var(--ink);font-variant-numeric:tabular-nums}
.strip{display:flex;gap:10px;overflow-x:auto;padding-bottom:6px}
.strip figure{margin:0;flex:0 0 auto;width:98px}
.strip img{display:block;width:98px;height:auto;min-height:60px;border-radius:5px;background:var(--grid)}
.strip img.small{image-rendering:pixelated}
figcaption{font-size:.78rem;color:var(--muted);margin-top:4px;overflow-wrap:anywhere}
.read{padding:0 6px;border-radius:4px;font-weight:600;font-family:ui-monospace,Menlo,Consolas,monospace}
.read.yes{color:var(--good);background:var(--good-bg)}.read.no{color:var(--bad);background:var(--bad-bg)}
.pictures{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}
.pictures h3{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child,.left{text-align:left}
th{color:var(--muted);font-weight:600}
tr:last-child td{border-bottom:0}
td.bad{color:var(--bad);font-weight:600}
td.warn{color:var(--warn);font-weight:600}
.shares{display:flex;height:10px;min-width:120px;border-radius:3px;overflow:hidden;background:var(--grid)}
.shares i{display:block;height:100%}
footer{color:var(--muted);font-size:.83rem;margin-top:30px;overflow-wrap:anywhere}
[hidden]{display:none}
</style></head><body><main>
<header><h1 id="name">flowawr run</h1><span class="badge" id="phase">…</span><span id="contact" role="status"></span></header>
<div class="bar"><i id="done"></i></div><p class="sub" id="progress"></p>
<div id="notes"></div><div class="tiles" id="tiles"></div>
<h2>Reward</h2><div class="card wide" id="c-reward"></div>
<div class="columns"><div class="card" id="c-scorers" hidden></div><div class="card" id="c-exact" hidden></div><div class="card" id="c-speed"></div></div>
<h2>Optimisation</h2><div class="columns"><div class="card" id="c-loss"></div><div class="card" id="c-kl"></div><div class="card" id="c-norm"></div></div>
<div id="pictures-part" hidden><h2>Held-out pictures</h2><p class="sub" style="margin-bottom:10px">The same prompts and the same noise, before the first update and after.</p>
<div class="pictures" id="pictures"></div></div>
<h2>Rewards</h2><div class="card scroll"><table id="rewards"></table></div>
<h2>Fleet</h2><div class="card scroll"><table id="fleet"></table></div><p class="legend" id="stages"></p>
<h2>Where the learner's time goes</h2><div class="card" id="learner"></div>
<footer id="footer"></footer></main>
<script>
"use strict";
const $ = id => document.getElementById(id);
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const svg = (tag, attrs) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const k in attrs) e.setAttribute(k, attrs[k]); return e; };
const known = v => v !== null && v !== undefined && Number.isFinite(v);
const fig = (v, digits = 3) => known(v) ? v.toFixed(digits) : "missing";
const short = v => !known(v) ? "–" : v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(2) : String(+v.toPrecision(4));
const count = v => Number(v || 0).toLocaleString("en").replace(/,/g, "\u202f");
const time = s => { if (!known(s)) return "–"; s = Math.round(s); const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  return d ? d + " d " + h % 24 + " h" : h ? h + " h " + m % 60 + " min" : m ? m + " min " + s % 60 + " s" : s + " s"; };
const colour = i => "var(--series-" + (i % 8 + 1) + ")";
const STAGES = ["encode", "sample", "decode", "score", "submit", "idle"];
const stageColour = s => s === "idle" ? "transparent" : colour(Math.max(0, STAGES.indexOf(s)));

function ticks(low, high, n) {
  const rough = (high - low) / n, power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 2.5, 5, 10].find(f => f * power >= rough * (1 - 1e-9)) * power, found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && found.length < 20; i++) found.push(i * step);
  return found;
}
// series: {name, points: [[x, y, error]], colour, dots}; marks: {x, text}. Redrawn whole; sized by its place.
function chart(box, title, series, marks = [], height = 200) {
  box.textContent = "";
  box.append(make("h3", "", title));
  series = series.filter(s => s.points.length);
  const width = Math.max(box.clientWidth - 34, 220), left = 52, right = 8, top = 8, bottom = 24;
  const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title, height});
  const legend = make("p", "legend");
  box.append(root, legend);
  if (!series.length) { const t = svg("text", {x: width / 2, y: height / 2, "text-anchor": "middle"}); t.textContent = "nothing recorded yet"; root.append(t); return; }
  let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
  for (const s of series) for (const [x, y, e] of s.points) { x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y - (e || 0)); y1 = Math.max(y1, y + (e || 0)); }
  if (x1 === x0) x1 = x0 + 1;
  if (!(y1 - y0 > 1e-6 * Math.max(Math.abs(y0), Math.abs(y1)))) { const m = Math.max(Math.abs(y0) * .1, 1e-6); y0 -= m; y1 += m; }
  const pad = (y1 - y0) * .05; if (y0 < 0 || y0 - pad > 0) y0 -= pad; else y0 = 0; y1 += pad;
  const X = x => left + (x - x0) / (x1 - x0) * (width - left - right), Y = y => height - bottom - (y - y0) / (y1 - y0) * (height - bottom - top);
  const text = (x, y, anchor, s) => { const t = svg("text", {x, y, "text-anchor": anchor}); t.textContent = s; root.append(t); };
  for (const t of ticks(y0, y1, 4)) { root.append(svg("line", {class: "grid", x1: left, x2: width - right, y1: Y(t), y2: Y(t)})); text(left - 7, Y(t) + 4, "end", short(+t.toPrecision(6))); }
  for (const t of ticks(x0, x1, width > 600 ? 10 : 4)) if (Number.isInteger(t)) text(X(t), height - 6, "middle", t);
  root.append(svg("line", {class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom}));
  marks.slice(-12).forEach((m, i) => { if (m.x < x0 || m.x > x1) return;
    const line = svg("line", {class: "mark", x1: X(m.x), x2: X(m.x), y1: top, y2: height - bottom}), title = svg("title", {}); title.textContent = m.title; line.append(title); root.append(line);
    if (width < 600) return;
    const far = X(m.x) > width / 2; text(X(m.x) + (far ? -5 : 5), top + 11 + 14 * (i % 3), far ? "end" : "start", m.text.slice(0, 40)); });
  const broken = (a, b) => marks.some(m => a <= m.x && m.x < b);
  for (const s of series) {
    let d = ""; s.points.forEach(([x, y], i) => { d += (i && !broken(s.points[i - 1][0], x) ? "L" : "M") + X(x).toFixed(1) + " " + Y(y).toFixed(1); });
    root.append(svg("path", {class: "line", d, stroke: s.colour}));
    if (s.dots || s.points.length === 1) for (const [x, y, e] of s.points) {
      if (e) root.append(svg("path", {class: "error", stroke: s.colour, d: `M${X(x)} ${Y(y - e)}V${Y(y + e)}`}));
      root.append(svg("circle", {class: "dot", cx: X(x), cy: Y(y), r: 3.5, stroke: s.colour})); }
  }
  const cursor = svg("line", {class: "cursor", y1: top, y2: height - bottom}); root.append(cursor);
  const values = series.map(s => { const item = make("span"), swatch = make("i"), value = make("b"); swatch.style.background = s.colour; item.append(swatch, s.name + " ", value); legend.append(item); return value; });
  const at = make("span"); legend.append(at);
  const show = x => series.forEach((s, i) => { let best = s.points[s.points.length - 1]; if (x !== null) for (const p of s.points) if (Math.abs(p[0] - x) < Math.abs(best[0] - x)) best = p;
    values[i].textContent = short(best[1]) + (best[2] ? " ± " + short(best[2]) : ""); });
  show(null);
  root.onpointermove = e => { const r = root.getBoundingClientRect(), x = x0 + ((e.clientX - r.left) / r.width * width - left) / (width - left - right) * (x1 - x0);
    const u = Math.min(x1, Math.max(x0, Math.round(x))); cursor.setAttribute("x1", X(u)); cursor.setAttribute("x2", X(u)); cursor.style.visibility = "visible"; at.textContent = "update " + u; show(u); };
  root.onpointerleave = () => { cursor.style.visibility = "hidden"; at.textContent = ""; show(null); };
}

const state = {status: null, history: null, pictures: null, seen: "", seenPictures: "", contact: 0};
const curve = name => (state.history && state.history.curves[name]) || [];
function drawCharts() {
  const h = state.history; if (!h) return;
  const marks = h.swaps.map(s => ({x: s.update, text: "now " + s.to, title: `after update ${s.update}: ${s.to}`}));
  const held = h.heldout.filter(e => known(e.reward)).map(e => [e.update, e.reward, e.error]);
  chart($("c-reward"), "Reward by update", [{name: "training batches", points: curve("reward_mean"), colour: colour(0)}, {name: "held out", points: held, colour: colour(1), dots: true}], marks, 280);
  const scorers = Object.keys(h.curves).filter(n => n.startsWith("scorer/"));
  const exact = h.heldout.filter(e => known(e.exact)).map(e => [e.update, 100 * e.exact]);
  $("c-scorers").hidden = scorers.length < 2;
  $("c-exact").hidden = !exact.length;
  if (scorers.length > 1) chart($("c-scorers"), "By scorer, training batches", scorers.map((n, i) => ({name: n.slice(7), points: h.curves[n], colour: colour(i + 2)})), marks);
  if (exact.length) chart($("c-exact"), "Held-out images exactly right, %", [{name: "exact", points: exact, colour: colour(1), dots: true}], marks);
  chart($("c-speed"), "Images trained on a second", [{name: "images/s", points: curve("images_per_s"), colour: colour(3)}]);
  chart($("c-loss"), "Loss", [{name: "loss", points: curve("loss"), colour: colour(2)}]);
  chart($("c-kl"), "KL to the reference", [{name: "KL", points: curve("kl"), colour: colour(3)}]);
  chart($("c-norm"), "Gradient norm before clipping", [{name: "norm", points: curve("grad_norm"), colour: colour(4)}]);
  const seconds = Object.entries(h.seconds).sort((a, b) => b[1] - a[1]), total = seconds.reduce((n, s) => n + s[1], 0), box = $("learner");
  box.textContent = "";
  if (!total) { box.append(make("p", "sub", "Nothing recorded yet.")); return; }
  box.append(make("h3", "", "Update " + h.updates + ": " + total.toFixed(1) + " s, of which"));
  const bar = make("div", "shares"), legend = make("p", "legend");
  seconds.forEach(([stage, s], i) => { const part = make("i"), item = make("span"), swatch = make("i"); part.style.width = 100 * s / total + "%"; part.style.background = swatch.style.background = colour(i);
    part.title = stage; bar.append(part); item.append(swatch, stage + " ", make("b", "", s.toFixed(s < 10 ? 2 : 1) + " s")); legend.append(item); });
  box.append(bar, legend);
}

const PHASES = {STARTING: ["starting", ""], EVALUATING_BASE: ["evaluating the base model", "good"], RUNNING: ["running", "good"], PAUSED: ["paused", "warn"],
  EVALUATING_FINAL: ["evaluating the result", "good"], FINISHED: ["finished", "good"], FAILED: ["failed", "bad"]};
function tile(name, value, more, before) { const t = make("div", "card tile"), v = make("div", "value"); if (before) v.append(make("small", "", before + " → ")); v.append(value); t.append(make("div", "name", name), v, make("div", "more", more)); return t; }
function row(cells, tag = "td") { const r = make("tr"); for (const c of cells) { const e = make(tag); if (c && c.nodeType) e.append(c); else if (Array.isArray(c)) { e.textContent = c[0]; e.className = c[1]; } else e.textContent = c; r.append(e); } return r; }
function drawStatus() {
  const s = state.status, [phase, cls] = PHASES[s.phase] || ["unknown", ""];
  const held = s.evaluation_groups_total > 0;
  document.title = `${s.update}/${s.updates_total} ${s.name}`;
  $("name").textContent = s.name;
  $("phase").textContent = phase + (held && s.phase === "RUNNING" ? ", evaluating" : ""); $("phase").className = "badge " + cls;
  $("done").style.width = 100 * s.update / Math.max(1, s.updates_total) + "%";
  const left = s.phase === "FINISHED" || s.phase === "FAILED" ? "" : s.remaining_s > 0 ? `, about ${time(s.remaining_s)} left` : "";
  $("progress").textContent = `Update ${count(s.update)} of ${count(s.updates_total)} after ${time(s.elapsed_s)}${left}.` +
    (held ? ` Held-out pictures: ${s.evaluation_groups} of ${s.evaluation_groups_total} groups are in.` : s.phase === "RUNNING" ? ` Next batch: ${s.batch_groups} groups in, ${s.open_leases} being made.` : "");
  const notes = $("notes"); notes.textContent = "";
  if ((s.phase === "PAUSED" || s.phase === "FAILED") && s.message) notes.append(make("div", "card note" + (s.phase === "FAILED" ? " bad" : ""), (s.phase === "PAUSED" ? "Paused: " : "Failed: ") + s.message));
  for (const w of s.warnings) notes.append(make("div", "card note", w));
  const latest = s.latest && s.latest.update > 0 ? s.latest : null, base = s.base, speed = curve("images_per_s"), now = latest || base;
  const swapped = state.history && state.history.swaps.length && base && latest;
  const tiles = $("tiles"); tiles.textContent = "";
  tiles.append(tile("Held-out reward", now ? fig(now.reward_mean) : "–", now ? (latest ? `base → update ${latest.update}` : "base model") + (known(now.reward_stderr) ? `, ± ${fig(now.reward_stderr)}` : "") + (swapped ? "; the base was measured by other rewards" : "") : "not evaluated yet", latest && base ? fig(base.reward_mean) : ""));
  if (now && known(now.exact_share)) tiles.append(tile("Held out, exactly right", (100 * now.exact_share).toFixed(1) + "\u00a0%", `of ${count(now.images)} images`, latest && base && known(base.exact_share) ? (100 * base.exact_share).toFixed(1) + "\u00a0%" : ""));
  tiles.append(tile("Reward of the last batch", s.update ? fig(s.reward_mean) : "–", known(s.equal_groups_share) ? (100 * s.equal_groups_share).toFixed(0) + " % of its groups all-equal" : ""),
    tile("Images a second", speed.length ? short(speed[speed.length - 1][1]) : "–", `${count(s.samples_trained)} trained on`),
    tile("Actors", String(s.actors.length), `${count(s.groups_accepted)} groups accepted`));
  const dropped = Object.entries(s.dropped).filter(d => d[1] > 0);
  if (dropped.length) tiles.append(tile("Groups dropped", count(dropped.reduce((n, d) => n + d[1], 0)), dropped.map(d => `${d[1]} ${d[0]}`).join(", ")));
  const rewards = $("rewards"); rewards.textContent = "";
  rewards.append(row(["Scorer", "Weight", "Last batch", "Endpoint", "Kind"], "th"));
  for (const t of s.reward_spec ? s.reward_spec.terms : []) rewards.append(row([t.scorer, short(t.weight), t.scorer in s.reward_by_scorer ? fig(s.reward_by_scorer[t.scorer]) : "–", t.endpoint || "the run's own", t.weight === 0 ? "shadow" : t.is_required ? "required" : "optional"]));
  const fleet = $("fleet"), stages = new Set(); fleet.textContent = "";
  fleet.append(row(["Actor", "Last seen", "Version", "Lag", "Groups", "Images/s", "Leases", "Time by stage", "Address"], "th"));
  for (const a of s.actors.slice(0, 200)) {
    const shares = make("div", "shares"), total = Object.values(a.stage_seconds).reduce((n, v) => n + v, 0);
    for (const stage of STAGES) { const v = a.stage_seconds[stage] || 0; if (!(v > 0)) continue; stages.add(stage); const part = make("i"); part.style.width = 100 * v / total + "%"; part.style.background = stageColour(stage); part.title = `${stage} ${(100 * v / total).toFixed(0)} %`; shares.append(part); }
    const lag = Math.max(0, s.policy_version - a.adopted_version);
    fleet.append(row([a.actor_id, [a.seconds_since_seen < 1 ? "now" : time(a.seconds_since_seen) + " ago", a.seconds_since_seen >= 10 ? "bad" : a.seconds_since_seen >= 5 ? "warn" : ""], a.adopted_version || "–", a.adopted_version ? [String(lag), lag > 2 ? "warn" : ""] : "–", count(a.groups), a.images_per_s ? short(a.images_per_s) : "–", String(a.held_leases), shares, a.address || "–"]));
  }
  if (!s.actors.length) fleet.append(row(["no actor is heard of"]));
  if (s.actors.length > 200) fleet.append(row([`and ${s.actors.length - 200} more`]));
  const legend = $("stages"); legend.textContent = "";
  for (const stage of STAGES) if (stages.has(stage)) { const item = make("span"), swatch = make("i"); swatch.style.background = stage === "idle" ? "var(--grid)" : stageColour(stage); item.append(swatch, stage); legend.append(item); }
  $("footer").textContent = `Run ${s.run_id} in ${s.run_dir}. ` + (s.last_checkpoint ? `Newest checkpoint: ${s.last_checkpoint}. ` : "") + "This page only looks; `flowawr` commands act.";
}
function drawPictures() {
  const sets = new Map((state.pictures ? state.pictures.sets : []).map(s => [s.set, s.pictures]));
  const updateOf = set => { const p = sets.get(set)[0]; return p && p.update || 0; };
  let names = [...sets.keys()].filter(n => n.startsWith("update-"));
  const ends = ["latest", "final"].filter(n => sets.has(n)).sort((a, b) => updateOf(a) - updateOf(b));
  if (ends.length) names = names.filter(n => updateOf(n) < updateOf(ends[ends.length - 1])).concat(ends[ends.length - 1]);
  names.sort((a, b) => updateOf(a) - updateOf(b));
  while (names.length > 4) names.splice(Math.floor((names.length - 1) / 2), 1);
  if (sets.has("base")) names.unshift("base");
  const box = $("pictures"), rows = new Map(); box.textContent = "";
  $("pictures-part").hidden = !names.length;
  for (const set of names) for (const p of sets.get(set)) { if (!rows.has(p.name)) { if (rows.size >= 12) continue; rows.set(p.name, {prompt: p.prompt || "", cells: []}); } rows.get(p.name).cells.push([set, p]); }
  const firsts = new Set((sets.get(names[names.length - 1]) || []).map(p => p.name));
  for (const [name, {prompt, cells}] of rows) {
    if (!firsts.has(name) && names.length > 1) continue;
    const card = make("div", "card"), title = make("h3", "", prompt), strip = make("div", "strip"); title.title = prompt;
    for (const [set, p] of cells) {
      const figure = make("figure"), image = make("img"), caption = make("figcaption");
      image.onload = () => { if (image.naturalWidth < 160) image.className = "small"; };
      image.alt = (set === "base" ? "base model: " : `update ${p.update}: `) + prompt; image.loading = "lazy";
      image.src = `images/${set}/${p.name}.png?update=${p.update || 0}`;
      if (p.text !== undefined) { caption.append(make("span", "read " + (p.exact === "true" ? "yes" : p.exact === "false" ? "no" : ""), (p.exact === "true" ? "✓ " : p.exact === "false" ? "✗ " : "") + (p.text || "nothing")), make("br")); }
      caption.append((set === "base" ? "base" : `update ${p.update}`) + " · " + (known(p.reward) ? p.reward.toFixed(2) : "missing"));
      figure.append(image, caption); strip.append(figure);
    }
    card.append(title, strip); box.append(card);
  }
  for (const strip of box.querySelectorAll(".strip")) strip.scrollLeft = strip.scrollWidth;  // the newest is in sight
}
async function get(path) { const answer = await fetch(path, {cache: "no-store"}); if (!answer.ok) throw new Error(answer.status + " " + answer.statusText); return answer.json(); }
async function refresh() {
  try {
    const s = state.status = await get("api/status.json");
    const seen = [s.run_id, s.update, s.phase, s.latest && s.latest.update, s.reward_spec && s.reward_spec.version].join();
    if (seen !== state.seen) { state.history = await get("api/history.json"); state.seen = seen; drawCharts(); }
    drawStatus();
    const pictures = [s.run_id, s.phase, s.base && s.base.update, s.latest && s.latest.update, s.update].join();
    if (pictures !== state.seenPictures) { const found = await get("api/pictures.json"); state.seenPictures = pictures; if (JSON.stringify(found) !== JSON.stringify(state.pictures)) { state.pictures = found; drawPictures(); } }
    state.contact = Date.now(); $("contact").textContent = "live"; document.body.dataset.update = s.update;
  } catch (error) {
    const over = state.status && state.status.phase === "FINISHED";
    $("contact").textContent = over ? "the run has ended" : "no answer" + (state.contact ? " since " + new Date(state.contact).toLocaleTimeString() : "") + ": " + error.message;
  }
  setTimeout(refresh, document.hidden ? 15000 : 2000);
}
let resized; addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(drawCharts, 150); });
refresh();
</script></body></html>
)html";

}  // namespace flowawr
