// Filters, keys and the address: what a reader does, and what it changes.

const controls = Object.fromEntries(FIELDS.map((name) => [name, element(`find-${name}`)]));
const detail = element('case-detail');

const fill = (select, entries) => {
  for (const [value, text] of entries) select.append(make('option', { value }, text));
};
const used = (name) => [...INDEX.columns[name].values].sort((a, b) => a.localeCompare(b, 'en'));
fill(controls.task, INDEX.columns.task.values.map((name) => [name, words(name)]));
fill(controls.subset, used('subset').map((name) => [name, name]));
fill(controls.modality, used('modality').map((name) => [name, name]));
fill(controls.system, SYSTEMS.map((name) => [name, name]));
fill(controls.score, INDEX.levels.map((name) => [name, name === 'unscored' ? 'not scored' : name]));
fill(controls.outcome, INDEX.outcomes.map((name) => [name, name]));
const occurs = (bit) => ANSWERS.some((answer) => answer.signs.some((signs) => (signs & bit) !== 0));
fill(controls.shows, Object.entries(INDEX.signs).filter(([, bit]) => occurs(bit)).map(([name]) => [name, name]));
for (const [name, system] of [['from', FROM], ['to', TO]]) {
  fill(controls[name], SYSTEMS.map((other, s) => [s === system ? '' : other, other]));
}

// Where there is little room, the filters that are needed less stand below a button.
const FURTHER = ['modality', 'outcome', 'shows', 'change', 'from', 'to'];
const showFurther = (all) => {
  element('case-form').classList.toggle('whole', all);
  element('find-more').setAttribute('aria-expanded', String(all));
  element('find-more').textContent = all ? 'Fewer filters' : 'More filters';
};
element('find-more').addEventListener('click', () => showFurther(!element('case-form').classList.contains('whole')));

const showControls = () => {
  for (const [name, control] of Object.entries(controls)) {
    if (control.value !== state[name]) control.value = state[name];
  }
  if (FURTHER.some((name) => state[name])) showFurther(true); // no filter is in force that is not seen
  const chosen = FIELDS.filter((name) => state[name] && !['sort', 'from', 'to'].includes(name));
  element('case-reset').disabled = chosen.length === 0 && !state.sort;
};

let written = '';
const writeAddress = (replace) => {
  written = stateText();
  if (location.hash.slice(1) === written) return;
  const address = written ? `#${written}` : `${location.pathname}${location.search}`;
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
};

let asked = 0;
const refresh = async ({ keepOpen = true } = {}) => {
  const turn = ++asked;
  showControls();
  element('case-busy').hidden = !state.text || searched !== null;
  const numbers = await findMatches();
  if (turn !== asked) return; // something else was looked for meanwhile
  element('case-busy').hidden = true;
  matching = numbers;
  listNode.scrollTop = 0;
  const wanted = state.case ? numberOfUid(state.case) : -1;
  element('case-unknown').hidden = !state.case || wanted >= 0;
  const next = wanted >= 0 && (keepOpen || matching.includes(wanted)) ? wanted : (matching[0] ?? -1);
  showSummary();
  await openCase(next, { replace: true, mark: wanted >= 0 });
};

const openCase = async (i, { replace = false, mark = true } = {}) => {
  open = i;
  state.case = i >= 0 && mark ? uidOf(i) : '';
  writeAddress(replace);
  scrollToOpen();
  showRows();
  element('case-like-none').hidden = true;
  if (i < 0) {
    detail.replaceChildren();
    return;
  }
  const one = await caseAt(i);
  if (open !== i) return;
  detail.replaceChildren(...caseNodes(i, one));
  detail.dataset.number = i;
  detail.scrollTop = 0;
  const place = matching.indexOf(i);
  element('case-place').textContent = place < 0 ? 'not among the matching cases' : `${(place + 1).toLocaleString('en')} of ${matching.length.toLocaleString('en')}`;
};

const step = (by) => {
  if (!matching.length) return;
  const place = matching.indexOf(open);
  const next = place < 0 ? 0 : Math.min(Math.max(place + by, 0), matching.length - 1);
  if (matching[next] !== open) openCase(matching[next], { replace: true });
};
const goToLike = () => {
  if (open < 0) return;
  const next = nextLike(open);
  if (next >= 0) openCase(next);
  element('case-like-none').hidden = next >= 0;
};

for (const [name, control] of Object.entries(controls)) {
  let waiting = 0;
  const change = () => {
    if (state[name] === control.value) return;
    state[name] = control.value;
    state.case = '';
    refresh({ keepOpen: false });
  };
  control.addEventListener('change', () => {
    clearTimeout(waiting);
    change();
  });
  if (name !== 'text') continue;
  // Some browsers clear a search field by a key without the event of a change.
  for (const kind of ['input', 'search']) {
    control.addEventListener(kind, () => {
      clearTimeout(waiting);
      waiting = setTimeout(change, 150);
    });
  }
}
element('case-form').addEventListener('submit', (event) => event.preventDefault());
const reset = () => {
  for (const name of FIELDS) state[name] = '';
  state.case = '';
  refresh();
};
element('case-reset').addEventListener('click', reset);
element('case-none-reset').addEventListener('click', reset);
element('case-before').addEventListener('click', () => step(-1));
element('case-after').addEventListener('click', () => step(1));
element('case-like').addEventListener('click', goToLike);
element('case-link').addEventListener('click', async () => {
  state.case = open >= 0 ? uidOf(open) : '';
  writeAddress(true);
  const button = element('case-link');
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'In the address bar';
  }
  setTimeout(() => (button.textContent = 'Copy link'), 2000);
});

listNode.addEventListener('scroll', () => requestAnimationFrame(showRows), { passive: true });
listNode.addEventListener('click', (event) => {
  const row = event.target.closest('.row');
  if (!row) return;
  openCase(Number(row.dataset.number));
  if (matchMedia('(max-width: 60rem)').matches) element('case-bar').scrollIntoView({ block: 'start' });
});

const help = element('case-help');
element('case-keys').addEventListener('click', () => help.showModal());
element('case-help-close').addEventListener('click', () => help.close());

const toggleBoxes = () => {
  const boxes = [...detail.querySelectorAll('[data-toggle]')];
  const shown = boxes.some((box) => box.checked);
  for (const box of boxes) if (box.checked === shown) box.click();
};
const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  n: goToLike,
  b: toggleBoxes,
  '/': () => controls.text.focus(),
  '?': () => help.showModal(),
};
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const writing = event.target.closest?.('input:not([type=checkbox]), select, textarea');
  if (writing) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const inList = event.target === listNode;
  const arrows = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => step(-COUNT), End: () => step(COUNT) };
  const action = KEYS[event.key] ?? (inList ? arrows[event.key] : undefined);
  if (!action) return;
  event.preventDefault();
  action();
});

// Links of the tables name cases by the address; other addresses are places of the page.
const follow = () => {
  const text = location.hash.slice(1);
  if (text === written || (text && !text.includes('='))) return;
  readState(text);
  refresh();
};
addEventListener('hashchange', follow);
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || !link.hash.includes('=')) return;
  event.preventDefault();
  readState(link.hash.slice(1));
  history.pushState(null, '', link.hash);
  refresh().then(() => element('cases').scrollIntoView());
});
addEventListener('popstate', follow);
addEventListener('resize', showRows);

if (typeof DecompressionStream === 'undefined') {
  element('case-old').hidden = false;
} else {
  if (location.hash.includes('=')) readState(location.hash.slice(1));
  refresh().then(() => {
    if (location.hash.includes('=')) element('cases').scrollIntoView();
    document.documentElement.dataset.ready = 'true';
  });
}
