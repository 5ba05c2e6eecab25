(() => {
  "use strict";
  const ready = () => (document.documentElement.dataset.ready = "true");
  const head = document.getElementById("listing");
  if (!head) return ready(); // nothing was found
  const PAGE = 20;
  const FILTERS = ["kind", "action", "subset", "folder"];
  const { names, count, chunk: size } = JSON.parse(head.textContent);
  const at = (id) => document.getElementById(id);
  const words = (name) => name.replaceAll("_", " ");

  // A packed part is JSON, compressed with gzip, in base64.
  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(JSON.parse(at(id).textContent)), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const chunks = new Map();
  function chunkOf(place) {
    if (!chunks.has(place)) chunks.set(place, unpacked(`chunk-${place}`));
    return chunks.get(place);
  }
  const textsOf = async (place) => (await chunkOf(Math.floor(place / size)))[place % size];

  let sources = null;
  const thumbnail = (number) => (sources ??= JSON.parse(at("thumbnails").textContent))[number];

  // What the text filter looks through, in lower case, by place.
  let haystacks = null;
  async function searchable() {
    if (haystacks) return haystacks;
    const parts = await Promise.all(Array.from({ length: Math.ceil(count / size) }, (_, i) => chunkOf(i)));
    haystacks = parts.flat().map((texts) => texts.slice(0, 7).flat().join("\n").toLowerCase());
    return haystacks;
  }

  let columns = null;
  let matches = [];
  let page = 0;
  let chosen = null; // number of the finding that the address names
  let turn = 0; // of the latest request: an older one that ends late is dropped

  function element(name, text = "", className = "") {
    const node = document.createElement(name);
    if (text) node.textContent = visible(text);
    if (className) node.className = className;
    return node;
  }

  function line(list, title, text) {
    if (text === "" || text === null) return;
    const value = element("dd", String(text));
    value.dir = "auto";
    list.append(element("dt", title), value);
  }

  async function card(place) {
    const [uid, file, row, detail, question, answer, paths, images] = await textsOf(place);
    const name = (field) => names[field][columns[field][place]];
    const number = columns.number[place];
    const article = element("article", "", "finding");
    article.tabIndex = -1;
    article.dataset.number = number;
    article.classList.toggle("chosen", number === chosen);
    const title = element("h4");
    const link = element("a", words(name("kind")));
    link.href = `#finding=${number}`;
    link.title = "Link to this finding";
    title.append(link, element("span", name("action"), `chip ${name("action").replaceAll(" ", "-")}`));
    title.append(element("span", uid || file, "uid muted"));
    article.append(title, element("p", detail));
    const strip = element("div", "", "images");
    images.forEach((image, i) => {
      if (image === null) return;
      const shown = element("img");
      shown.src = thumbnail(image);
      shown.alt = visible(`image ${paths[i]}`);
      shown.loading = "lazy";
      strip.append(shown);
    });
    if (strip.childElementCount) article.append(strip);
    article.classList.toggle("illustrated", strip.childElementCount > 0);
    const list = element("dl");
    line(list, "Question", question);
    line(list, "Answer", answer);
    line(list, "Images", paths.join("\n"));
    if (!uid) line(list, "File", row === null ? file : `${file}, row ${row}`);
    article.append(list);
    return article;
  }

  async function show() {
    const mine = turn;
    const pages = Math.max(1, Math.ceil(matches.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const cards = await Promise.all(matches.slice(page * PAGE, (page + 1) * PAGE).map(card));
    if (mine !== turn) return;
    at("list").replaceChildren(...cards);
    at("place").textContent = `page ${page + 1} of ${pages}`;
    at("previous").disabled = page === 0;
    at("next").disabled = page >= pages - 1;
    at("status").textContent = `${matches.length.toLocaleString("en")} of ${count.toLocaleString("en")} findings`;
  }

  async function filter() {
    const mine = ++turn;
    const text = at("text").value.trim().toLowerCase();
    const wanted = FILTERS.map((field) => [columns[field], at(field).selectedIndex - 1]).filter(([, value]) => value >= 0);
    const texts = text ? await searchable() : null;
    if (mine !== turn) return;
    const fits = [];
    for (let place = 0; place < count; place++) {
      if (wanted.every(([column, value]) => column[place] === value) && (!text || texts[place].includes(text))) fits.push(place);
    }
    matches = fits;
    await show();
  }

  function address() {
    const parts = new URLSearchParams();
    for (const field of FILTERS) if (at(field).selectedIndex > 0) parts.set(field, names[field][at(field).selectedIndex - 1]);
    if (at("text").value) parts.set("text", at("text").value);
    if (page) parts.set("page", page + 1);
    history.replaceState(null, "", parts.size ? `#${parts}` : "#findings");
  }

  // An address with "=" holds filters, or the number of one finding; any other names a section.
  async function follow() {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return false;
    const parts = new URLSearchParams(hash);
    for (const field of FILTERS) at(field).selectedIndex = parts.has(field) ? names[field].indexOf(parts.get(field)) + 1 : 0;
    at("text").value = parts.get("text") ?? "";
    chosen = parts.has("finding") ? Number(parts.get("finding")) : null;
    page = (Number(parts.get("page")) || 1) - 1;
    const unknown = FILTERS.some((field) => parts.has(field) && at(field).selectedIndex === 0);
    const mine = turn + 1;
    if (chosen !== null) {
      turn++;
      matches = Array.from({ length: count }, (_, place) => place);
      const place = columns.number.indexOf(chosen);
      page = Math.floor(Math.max(place, 0) / PAGE);
      await show();
      if (place < 0) at("status").textContent = `Finding ${chosen} is not listed.`;
    } else if (unknown) {
      turn++;
      matches = [];
      await show();
    } else {
      await filter();
    }
    if (mine !== turn) return true;
    const target = document.querySelector(".finding.chosen") ?? at("browser");
    target.scrollIntoView();
    if (target.matches(".finding")) target.focus({ preventScroll: true });
    return true;
  }

  async function changed() {
    chosen = null;
    page = 0;
    address();
    await filter();
  }

  async function turned(by) {
    page += by;
    turn++;
    await show();
    address();
    at("browser").scrollIntoView();
  }

  function step(by) {
    const cards = [...document.querySelectorAll(".finding")];
    const place = cards.indexOf(document.activeElement.closest?.(".finding"));
    const target = cards[place < 0 ? 0 : Math.min(Math.max(place + by, 0), cards.length - 1)];
    target?.focus();
  }

  function keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const actions = {
      "/": () => at("text").focus(),
      j: () => step(1),
      k: () => step(-1),
      n: () => at("next").disabled || turned(1),
      p: () => at("previous").disabled || turned(-1),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      at("status").textContent = "This browser is too old to list the findings; findings.parquet has all of them.";
      return ready();
    }
    columns = await unpacked("columns");
    for (const field of FILTERS) {
      const tally = new Array(names[field].length).fill(0);
      columns[field].forEach((value) => tally[value]++);
      at(field).append(new Option("all", ""));
      names[field].forEach((name, i) => {
        const shown = (field === "kind" ? words(name) : name) || "(none)";
        at(field).append(new Option(`${visible(shown)} (${tally[i].toLocaleString("en")})`, name));
      });
      at(field).addEventListener("change", changed);
    }
    let waiting = 0;
    at("text").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(changed, 150);
    });
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    at("filters").addEventListener("reset", () => setTimeout(changed));
    at("previous").addEventListener("click", () => turned(-1));
    at("next").addEventListener("click", () => turned(1));
    document.addEventListener("keydown", keyed);
    window.addEventListener("hashchange", follow);
    if (!(await follow())) await filter();
    ready();
  }

  start();
})();
