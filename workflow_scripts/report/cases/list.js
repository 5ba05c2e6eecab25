// The list of matching cases: only the rows in view exist as elements.

const ROW = 62; // pixels, as in the styles
const SPARE = 6; // rows above and below those in view

const listNode = element('case-list');
const spacer = element('case-spacer');

element('case-heads').textContent = `Marks in the list, from left to right: ${COMPARED.map((s) => SYSTEMS[s]).join(', ')}.`;

// A report's question says little: its row shows the finding that is looked for, or the first that went wrong.
const FAULT_WORDS = { 'a missing finding': 'misses', 'a false finding': 'adds', 'a finding with a wrong attribute': 'has wrong' };
const faultOf = (i) => {
  const names = state.shows ? [state.shows] : Object.keys(FAULT_WORDS);
  const chosen = state.system ? systemNumber(state.system, -1) : -1;
  const among = chosen >= 0 ? [chosen] : state.shows ? COMPARED : [toSystem()];
  for (const s of among) {
    for (const name of names) {
      const fault = ANSWERS[s].faults[name]?.[i];
      if (fault) return { s, name, text: INDEX.findings[fault[0]], more: fault[1] };
    }
  }
  return null;
};
const snippetNode = (i) => {
  const fault = faultOf(i);
  if (!fault) return make('span', { class: 'snippet', dir: 'auto' }, valueOf('snippet', i));
  const more = fault.more ? ` + ${fault.more}` : '';
  return make('span', { class: 'snippet fault' }, `${SYSTEMS[fault.s]} ${FAULT_WORDS[fault.name]}: `, make('bdi', {}, fault.text), more);
};

const rowNode = (place) => {
  const i = matching[place];
  const row = make('div', {
    class: 'row',
    role: 'option',
    id: `row-${i}`,
    'aria-selected': String(i === open),
    'aria-setsize': matching.length,
    'aria-posinset': place + 1,
  });
  row.style.transform = `translateY(${place * ROW}px)`;
  row.dataset.number = i;
  const marks = make('span', { class: 'marks' });
  for (const s of COMPARED) {
    const level = levelOf(s, i);
    marks.append(make('span', { class: `mark ${level}`, title: `${SYSTEMS[s]}: ${level}` }, MARKS[level], make('span', { class: 'unseen' }, ` ${SYSTEMS[s]} ${level}.`)));
  }
  const where = make('span', { class: 'where' }, words(valueOf('task', i)), ' · ', make('bdi', {}, valueOf('subset', i)));
  const place_ = make('span', { class: 'place' }, where, make('span', { class: 'tail' }, `· ${valueOf('tail', i)}`));
  row.append(make('span', { class: 'first' }, place_, marks), snippetNode(i));
  return row;
};

const showRows = () => {
  spacer.style.height = `${matching.length * ROW}px`; // the list is no higher than its rows
  const first = Math.max(0, Math.floor(listNode.scrollTop / ROW) - SPARE);
  const last = Math.min(matching.length, Math.ceil((listNode.scrollTop + listNode.clientHeight) / ROW) + SPARE);
  const rows = [];
  for (let place = first; place < last; place++) rows.push(rowNode(place));
  spacer.replaceChildren(...rows);
  if (open >= 0 && element(`row-${open}`)) listNode.setAttribute('aria-activedescendant', `row-${open}`);
  else listNode.removeAttribute('aria-activedescendant');
};

const scrollToOpen = () => {
  const place = matching.indexOf(open);
  if (place < 0) return;
  const top = place * ROW;
  if (top < listNode.scrollTop) listNode.scrollTop = top;
  else if (top + ROW > listNode.scrollTop + listNode.clientHeight) listNode.scrollTop = top + ROW - listNode.clientHeight;
};

// How the matching cases went for each system, as a bar of shares.
const summaryNode = (s) => {
  const counts = INDEX.levels.map(() => 0);
  for (const i of matching) counts[ANSWERS[s].level[i]]++;
  const bar = make('span', { class: 'bar', 'aria-hidden': 'true' });
  const parts = [];
  INDEX.levels.forEach((level, place) => {
    if (!counts[place]) return;
    const part = make('span', { class: `part ${level}` });
    part.style.flexGrow = String(counts[place]);
    bar.append(part);
    parts.push(`${counts[place].toLocaleString('en')} ${level === 'unscored' ? 'not scored' : level}`);
  });
  return make('div', { class: 'share' }, make('bdi', {}, SYSTEMS[s]), bar, make('span', { class: 'muted small' }, parts.join(', ')));
};

const showSummary = () => {
  const count = matching.length.toLocaleString('en');
  element('case-count').textContent = matching.length === COUNT ? `All ${count} cases.` : `${count} of ${COUNT.toLocaleString('en')} cases.`;
  element('case-shares').replaceChildren(...(matching.length ? COMPARED.map(summaryNode) : []));
  element('case-none').hidden = matching.length > 0;
  listNode.hidden = matching.length === 0;
};
