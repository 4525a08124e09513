"use strict";
// Draws the charts of a run's page from the JSON beside it, and lets pointer and keys explore them.
(() => {
  const data = JSON.parse(document.getElementById("charts").textContent);
  const COLOURS = {
    "List Users": "other", "Call API": "call", "Process Users": "process",
    "Write Rows": "write", "Finish Run": "other",
  };

  // --- Words and numbers ---------------------------------------------------------------------

  const number = (value) => Math.round(value).toLocaleString("en-US");
  const ms = (value) => {
    if (value === null) return "—";
    return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${Math.round(value)} ms`;
  };
  const from = (start) => `${ms(start)} to ${ms(start + data.bin_ms)}`;

  // --- Drawing -------------------------------------------------------------------------------

  function make(name, attributes = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  // Round steps of which about `wanted` fit into the range.
  function ticks(end, wanted) {
    const raw = Math.max(end / wanted, 1);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
    return Array.from({ length: Math.floor(end / step) + 1 }, (_, at) => at * step);
  }

  // An empty chart as wide as its figure; what is drawn later lies inside the margins.
  function canvas(figure, height, label, margins) {
    const width = Math.max(figure.clientWidth, 240);
    const svg = make("svg", {
      viewBox: `0 0 ${width} ${height}`, height, role: "application", tabindex: 0,
      "aria-label": `${label}. Arrow keys move from one to the next.`,
    });
    figure.replaceChildren(svg);
    const { left, right, top, bottom } = margins;
    return { svg, left, top, width: width - left - right, height: height - top - bottom };
  }

  function timeAxis(area) {
    const x = (at) => area.left + (at / (data.span_ms || 1)) * area.width;
    for (const at of ticks(data.span_ms, area.width / 90)) {
      area.svg.append(
        make("line", { class: "grid", x1: x(at), x2: x(at), y1: area.top, y2: area.top + area.height }),
        make("text", { x: x(at), y: area.top + area.height + 16, "text-anchor": at ? "middle" : "start" },
          `${at / 1000} s`),
      );
    }
    return x;
  }

  function valueAxis(area, end, format) {
    const y = (value) => area.top + area.height - (value / (end || 1)) * area.height;
    for (const value of ticks(end, 4)) {
      area.svg.append(
        make("line", { class: "grid", x1: area.left, x2: area.left + area.width, y1: y(value), y2: y(value) }),
        make("text", { x: area.left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
      );
    }
    return y;
  }

  // Pointer and keys go over a chart's marks; what they are on is told below it.
  function explore(figure, marks, describe) {
    const svg = figure.firstChild;
    const readout = figure.nextElementSibling;
    let here = -1;
    const go = (to) => {
      marks[here]?.classList.remove("here");
      here = to;
      marks[here]?.classList.add("here");
      readout.textContent = here < 0 ? "" : describe(here);
    };
    const seek = (start, step) => {
      let at = start;
      while (marks[at]?.classList.contains("off")) at += step;
      if (marks[at]) go(at);
    };
    marks.forEach((mark, at) => {
      mark.dataset.mark = at;
    });
    svg.addEventListener("pointermove", (event) => {
      const mark = event.target.closest("[data-mark]");
      if (mark && !mark.classList.contains("off")) go(Number(mark.dataset.mark));
    });
    svg.addEventListener("keydown", (event) => {
      const moves = {
        ArrowRight: [here + 1, 1], ArrowLeft: [here < 0 ? marks.length - 1 : here - 1, -1],
        Home: [0, 1], End: [marks.length - 1, -1],
      };
      if (event.key === "Escape") go(-1);
      if (!(event.key in moves)) return;
      event.preventDefault();
      seek(...moves[event.key]);
    });
  }

  // A transparent column over each bin of time: the marks of a chart of lines.
  function columns(area, x, bins) {
    return bins.map(([start]) => {
      const [left, right] = [x(start), Math.min(x(start + data.bin_ms), area.left + area.width)];
      const hit = make("rect", {
        class: "hit", x: left, y: area.top, width: Math.max(right - left, 3), height: area.height,
      });
      area.svg.append(hit);
      return hit;
    });
  }

  function line(area, x, y, points, colour, dashes) {
    const path = points.map(([at, value], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
    area.svg.append(make("path", {
      d: path.join(""), fill: "none", stroke: `var(--${colour})`, "stroke-width": 2.5,
      "stroke-dasharray": dashes, "stroke-linejoin": "round", "stroke-linecap": "round",
    }));
    for (const [at, value] of points) {
      area.svg.append(make("circle", { cx: x(at), cy: y(value), r: 2.5, fill: `var(--${colour})` }));
    }
  }

  const middle = (start) => Math.min(start + data.bin_ms / 2, data.span_ms);
  const MARGINS = { left: 52, right: 14, top: 10, bottom: 22 };

  // --- The waterfall -------------------------------------------------------------------------

  function readRows() {
    const { columns: names, rows, states } = data.invocations;
    return rows.map((row) => {
      const own = Object.fromEntries(names.map((name, at) => [name, row[at]]));
      return { ...own, state: states[own.state] };
    });
  }
  const rows = readRows();

  function waterfall(figure) {
    const lanes = data.bands.reduce((sum, band) => sum + band.lanes.length, 0);
    const narrow = Math.max(1.2, Math.min(14, 640 / lanes));
    // A band of few lanes would be a hair's breadth among hundreds.
    const laneOf = (band) => (band.lanes.length < 4 ? Math.max(narrow, 10) : narrow);
    const caption = 18;
    const gap = 6;
    const tall = data.bands.reduce((sum, band) => sum + band.lanes.length * laneOf(band), 0);
    const height = tall + data.bands.length * (caption + gap) + 30;
    const area = canvas(figure, height, "Invocations over time", { left: 2, right: 14, top: 4, bottom: 24 });
    const x = timeAxis(area);
    area.svg.prepend(make("defs", {},
      make("pattern", { id: "cold", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        make("rect", { width: 2.6, height: 5, style: "fill:var(--init)" }))));
    const marks = [];
    let top = area.top;
    for (const band of data.bands) {
      area.svg.append(make("text", { x: area.left, y: top + 13 }, band.label));
      const lane = laneOf(band);
      top += caption;
      band.lanes.forEach((numbers, at) => {
        for (const index of numbers) marks.push(bar(area, x, rows[index], index, top + at * lane, lane));
      });
      top += band.lanes.length * lane + gap;
    }
    marks.sort((one, other) => one.start - other.start);
    explore(figure, marks.map((mark) => mark.node), (at) => told(rows[marks[at].index]));
    filter(marks);
  }

  function bar(area, x, row, index, top, lane) {
    const [left, right] = [x(row.start_ms), x(row.start_ms + row.duration_ms)];
    const height = lane > 8 ? lane - 2 : lane * 0.85;
    const y = top + (lane - height) / 2;
    const width = Math.max(right - left, 1.5);
    const node = make("g", {
      "data-state": row.state, "data-chunk": row.chunk, "data-group": row.group,
      "data-start": row.start_ms, "data-duration": row.duration_ms,
      "data-cold": row.cold, "data-failed": row.failed,
    });
    if (row.init_ms !== null) {
      const start = Math.max(x(row.start_ms - row.init_ms), area.left);
      node.append(make("rect", { x: start, y, width: Math.max(left - start, 0), height, fill: "url(#cold)" }));
    }
    const colour = row.failed ? "rejected" : COLOURS[row.state];
    node.append(make("rect", { x: left, y, width, height, rx: Math.min(2, height / 3), fill: `var(--${colour})` }));
    if (row.failed && height >= 8) {
      node.append(make("text", { x: left + width / 2, y: y + height - 1, "text-anchor": "middle", style: "fill:var(--paper);font-weight:700;font-size:10px" }, "✕"));
    }
    area.svg.append(node);
    return { node, index, start: row.start_ms };
  }

  function told(row) {
    const place = row.chunk === null ? "" : `, chunk ${row.chunk}, group ${row.group}`;
    const several = row.count > 1 ? ` and ${row.count - 1} beside it` : "";
    const cold = row.init_ms === null ? "" : `, after ${ms(row.init_ms)} of INIT (cold)`;
    const failed = row.failed ? " — failed" : "";
    return `${row.state}${place}${several}: ${ms(row.duration_ms)}, from ${ms(row.start_ms)}${cold}${failed}`;
  }

  function filter(marks) {
    const boxes = [...document.querySelectorAll("#filters input")];
    const apply = () => {
      const on = (name) => boxes.filter((box) => box.name === name && box.checked).map((box) => box.value);
      const [states, only] = [on("state"), on("only")];
      let shown = 0;
      for (const { node, index } of marks) {
        const row = rows[index];
        const fits = states.includes(row.state) && only.every((name) => row[name] > 0);
        node.classList.toggle("off", !fits);
        shown += fits ? row.count : 0;
      }
      const all = rows.reduce((sum, row) => sum + row.count, 0);
      document.querySelector("#waterfall + .readout").textContent =
        shown === all ? "" : `${number(shown)} of ${number(all)} invocations shown`;
    };
    boxes.forEach((box) => { box.onchange = apply; });
    apply();
  }

  // --- The other charts ----------------------------------------------------------------------

  function histogram(figure) {
    const bars = data.histogram;
    const area = canvas(figure, 220, "Latency of requests", MARGINS);
    const y = valueAxis(area, Math.max(...bars.map(([, , calls]) => calls)), number);
    const step = area.width / bars.length;
    const every = Math.ceil(52 / step);
    const marks = bars.map(([lower, upper, calls], at) => {
      const mark = make("rect", {
        x: area.left + at * step + 1, width: Math.max(Math.min(step - 2, 60), 1), y: y(calls),
        height: area.top + area.height - y(calls), fill: "var(--call)", rx: 2,
        "data-lower": lower, "data-upper": upper, "data-calls": calls,
      });
      area.svg.append(mark);
      if (at % every === 0) {
        area.svg.append(make("text", { x: area.left + at * step + 1, y: area.top + area.height + 16 }, ms(upper)));
      }
      return mark;
    });
    const total = bars.reduce((sum, [, , calls]) => sum + calls, 0);
    explore(figure, marks, (at) => {
      const [lower, upper, calls] = bars[at];
      return `${number(calls)} requests (${((100 * calls) / total).toFixed(1)} %) took ${lower ? `${ms(lower)} to ` : "up to "}${ms(upper)}`;
    });
  }

  function latency(figure) {
    const bins = data.latency;
    const area = canvas(figure, 220, "Latency over time", MARGINS);
    const x = timeAxis(area);
    const most = Math.max(...bins.map(([, requests]) => requests), 1);
    const bottom = area.top + area.height;
    for (const [start, requests, retries] of bins) {
      const width = Math.max(x(start + data.bin_ms) - x(start) - 1, 1);
      [[requests, "rule"], [retries, "retry_later"]].forEach(([amount, colour]) => {
        const height = (amount / most) * area.height * 0.35;
        area.svg.append(make("rect", { x: x(start), y: bottom - height, width, height, fill: `var(--${colour})` }));
      });
    }
    const y = valueAxis(area, Math.max(...bins.map((bin) => bin[5] ?? 0)), ms);
    [[5, "process", "1 5"], [4, "call", "7 5"], [3, "write", "none"]].forEach(([column, colour, dashes]) => {
      const points = bins.filter((bin) => bin[column] !== null).map((bin) => [middle(bin[0]), bin[column]]);
      line(area, x, y, points, colour, dashes);
    });
    const marks = columns(area, x, bins);
    bins.forEach((bin, at) => { marks[at].dataset.bin = JSON.stringify(bin); });
    explore(figure, marks, (at) => {
      const [start, requests, retries, p50, p90, p99] = bins[at];
      return `${from(start)}: p50 ${ms(p50)}, p90 ${ms(p90)}, p99 ${ms(p99)}; ${number(requests)} requests, ${number(retries)} retries`;
    });
  }

  function writes(figure) {
    const bins = data.writes;
    if (!bins.length) return;
    const area = canvas(figure, 220, "Rows received over time", MARGINS);
    const x = timeAxis(area);
    const y = valueAxis(area, Math.max(...bins.map(([, , , received]) => received), 1), number);
    for (const [start, , , received] of bins) {
      const width = Math.max(x(start + data.bin_ms) - x(start) - 1, 2);
      area.svg.append(make("rect", { x: x(start), y: y(received), width, height: area.top + area.height - y(received), fill: "var(--write)" }));
    }
    const longest = Math.max(...bins.map((bin) => bin[4]), 1);
    const late = (lag) => area.top + area.height - (lag / longest) * area.height * 0.9;
    line(area, x, late, bins.map(([start, , , , lag]) => [middle(start), lag]), "process", "none");
    const marks = columns(area, x, bins);
    bins.forEach((bin, at) => { marks[at].dataset.bin = JSON.stringify(bin); });
    explore(figure, marks, (at) => {
      const [start, batches, records, received, lag] = bins[at];
      return `${from(start)}: ${number(received)} rows in ${number(records)} records and ${number(batches)} batches; the longest wait ${ms(lag)}`;
    });
  }

  function connections(figure) {
    const opened = data.connections
      .flatMap((own) => own.first_ms.map((at) => ({ at, name: own.function })))
      .sort((one, other) => one.at - other.at);
    if (!opened.length) return;
    const area = canvas(figure, 150, "Database connections held over time", MARGINS);
    const x = timeAxis(area);
    const y = valueAxis(area, opened.length, number);
    let path = `M${area.left} ${y(0)}`;
    const marks = opened.map(({ at, name }, count) => {
      path += `H${x(at).toFixed(1)}V${y(count + 1).toFixed(1)}`;
      return make("circle", { cx: x(at), cy: y(count + 1), r: 4, fill: "var(--write)", "data-function": name, "data-at": at });
    });
    area.svg.append(make("path", { d: `${path}H${area.left + area.width}`, fill: "none", stroke: "var(--write)", "stroke-width": 2.5 }), ...marks);
    explore(figure, marks, (at) => `${ms(opened[at].at)}: ${opened[at].name} takes connection ${at + 1} of ${opened.length}`);
  }

  const CHARTS = { waterfall, histogram, latency, writes, connections };
  function draw() {
    for (const figure of document.querySelectorAll("[data-chart]")) CHARTS[figure.id](figure);
  }

  // --- Around the charts ---------------------------------------------------------------------

  // A field that leaves only those rows of a table in which its words occur.
  for (const field of document.querySelectorAll("[data-filters]")) {
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const row of document.getElementById(field.dataset.filters).tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
      }
    });
  }

  const THEMES = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  function theme(name) {
    document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
  }
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    theme(next);
    try { localStorage.setItem("batch-report-theme", next); } catch { /* a browser that keeps nothing */ }
  });
  let kept = null;
  try { kept = localStorage.getItem("batch-report-theme"); } catch { /* likewise */ }
  theme(THEMES.includes(kept) ? kept : "auto");

  let drawnAt = 0;
  const redraw = () => {
    if (document.documentElement.clientWidth === drawnAt) return;
    drawnAt = document.documentElement.clientWidth;
    draw();
  };
  addEventListener("resize", redraw);
  redraw();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
