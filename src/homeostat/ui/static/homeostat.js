// Three things, none of them needed to read a page: it stays live, it says how long ago, it draws large charts.
"use strict";
(() => {
  // Live: the server says that something was committed; htmx fetches this page again and morphs what changed.
  const sign = () => document.getElementById("live");
  const say = (words) => { if (sign()) sign().textContent = words; };
  let waiting = false;
  const refresh = () => {
    waiting = document.hidden;
    if (!waiting) htmx.trigger(document.body, "changed");
  };
  const listen = () => {
    const source = new EventSource(document.body.dataset.changes);
    source.onopen = () => say("Live");
    source.onerror = () => {
      say("Connection lost, trying again");
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
    source.addEventListener("changed", refresh);
  };
  document.addEventListener("visibilitychange", () => { if (waiting) refresh(); });

  // How long ago.
  const age = (seconds) => {
    if (seconds < 5) return "just now";
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]])
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  };
  const skew = Date.now() - Number(document.body.dataset.now) / 1000;
  const tell = () => {
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const words = age(Math.max(0, (Date.now() - skew - Number(element.dataset.ago) / 1000) / 1000));
      if (element.textContent !== words) element.textContent = words;
    }
  };

  // Charts, drawn from the tables beside them: a row is data-x, data-y (and data-low, data-high, data-mark).
  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const read = (table) => {
    const rows = [...table.querySelectorAll("tbody tr[data-x]")];
    const part = (row, name) => (row.dataset[name] ? Number(row.dataset[name]) : null);
    const ys = rows.map((row) => row.dataset.y.split(" ").map((y) => (y === "" ? null : Number(y))));
    const names = table.dataset.series.split("|");
    return {
      names,
      xs: rows.map((row) => Number(row.dataset.x)),
      ys: names.map((_, i) => ys.map((y) => y[i] ?? null)),
      low: rows.map((row) => part(row, "low")),
      high: rows.map((row) => part(row, "high")),
      marks: [...table.querySelectorAll("[data-mark]")].map((m) => [Number(m.dataset.at), m.dataset.mark]),
    };
  };
  const rules = (data) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [at, kind] of data().marks) {
      const x = Math.round(plot.valToPos(at, "x", true));
      ctx.strokeStyle = ctx.fillStyle = colour(kind === "noticed" ? "--bad" : "--run");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const s = 5 * devicePixelRatio;
      ctx.beginPath();
      if (kind === "noticed") { ctx.moveTo(x - s, bbox.top); ctx.lineTo(x + s, bbox.top); ctx.lineTo(x, bbox.top + 1.6 * s); }
      else { ctx.moveTo(x, bbox.top); ctx.lineTo(x + s, bbox.top + s); ctx.lineTo(x, bbox.top + 2 * s); ctx.lineTo(x - s, bbox.top + s); }
      ctx.fill();
    }
    ctx.restore();
  };
  const show = (value, unit) => (value == null ? "–" : `${Number(value.toPrecision(4)).toLocaleString("en")}${unit ? " " + unit : ""}`);
  const lines = ["--ink", "--run", "--ask"];
  const draw = (figure) => {
    const table = document.getElementById(figure.dataset.from);
    const place = figure.querySelector(".plot");
    if (!table || !place || !window.uPlot) return;
    const data = read(table);
    const banded = data.low.some((v) => v != null) || data.high.some((v) => v != null);
    const columns = [data.xs, ...data.ys, ...(banded ? [data.high, data.low] : [])];
    const known = drawn.get(figure);
    if (known) {
      known.data = data;
      if (JSON.stringify(columns) !== known.seen) { known.seen = JSON.stringify(columns); known.plot.setData(columns); }
      return;
    }
    if (data.xs.length < 2) return;
    const kept = { data, seen: JSON.stringify(columns) };
    const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const unit = figure.dataset.unit || "";
    const time = figure.dataset.x !== "step";
    const bound = { stroke: "transparent", points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }), value: (_, v) => show(v, unit) };
    const n = data.names.length;
    const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
    const dates = (_, ticks, __, ___, step) => ticks.map((seconds) => {
      const at = new Date(seconds * 1000);
      const day = `${at.getUTCDate()} ${months[at.getUTCMonth()]}`;
      return step >= 86400 || at.getUTCHours() + at.getUTCMinutes() === 0 ? day : at.toISOString().slice(11, 16);
    });
    const newest = (plot) => plot.setLegend({ idx: plot.data[0].length - 1 });
    kept.plot = new uPlot({
      width: place.clientWidth || 600,
      height: Number(figure.dataset.height || 220),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { time }, ...(figure.dataset.zero ? { y: { range: (_, low, high) => [Math.min(0, low), high * 1.08 || 1] } } : {}) },
      cursor: { drag: { x: true, y: false }, points: { size: 6 } },
      series: [
        time ? { value: "{YYYY}-{MM}-{DD} {HH}:{mm}" } : { label: "Step" },
        ...data.names.map((label, i) => ({ label, stroke: () => colour(lines[i % lines.length]), width: 1.6, points: { show: data.xs.length < 40, size: 4, fill: () => colour("--card") }, value: (_, v) => show(v, unit) })),
        ...(banded ? [{ label: "Healthy up to", ...bound }, { label: "Healthy from", ...bound }] : []),
      ],
      bands: banded ? [{ series: [n + 1, n + 2], fill: () => colour("--band") }] : [],
      axes: [{ ...axis, size: 30, ...(time ? { values: dates } : {}) }, { ...axis, size: 62, space: 26, values: (_, ticks) => ticks.map((v) => show(v)) }],
      hooks: {
        draw: [rules(() => kept.data)],
        ready: [newest],
        setData: [newest],
        setCursor: [(plot) => { if (plot.cursor.idx == null) newest(plot); }],
      },
    }, columns, place);
    place.querySelector(".drawing")?.remove();
    drawn.set(figure, kept);
  };
  const charts = () => {
    for (const figure of drawn.keys()) if (!figure.isConnected) { drawn.get(figure).plot.destroy(); drawn.delete(figure); }
    document.querySelectorAll("figure[data-from]").forEach(draw);
  };
  const fit = () => drawn.forEach(({ plot }, figure) => plot.setSize({ width: figure.querySelector(".plot").clientWidth, height: plot.height }));
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(({ plot }) => plot.redraw()));

  document.addEventListener("htmx:after:swap", () => { tell(); charts(); });
  document.addEventListener("DOMContentLoaded", () => {
    charts();
    if (document.body.dataset.changes) listen();
    setInterval(tell, 10000);
  });
})();
