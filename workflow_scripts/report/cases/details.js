// One case: question, images, reference, and each system's answer with its score, boxes and findings.

const MARKS = { right: '✓', partly: '◐', wrong: '✗', unscored: '–' };

const levelOf = (s, i) => INDEX.levels[ANSWERS[s].level[i]];

const chipNode = (s, i) => {
  const level = levelOf(s, i);
  const score = ANSWERS[s].score[i];
  const number = score < 0 ? '' : ` ${(score / 1000).toFixed(2)}`;
  return make('span', { class: `chip ${level}` }, `${MARKS[level]} ${level === 'unscored' ? 'not scored' : level}${number}`);
};

const textNode = (text, label) => {
  const block = make('div', { class: 'text', dir: 'auto' });
  if (text === null || text === undefined) block.append(make('em', {}, 'no answer'));
  else if (shownText(text) === '') block.append(make('em', {}, 'empty'));
  else block.append(visible(shownText(text)));
  if (typeof text === 'string' || !text) return [focusable(block, label)];
  const note = `The first ${text.start.length.toLocaleString('en')} of ${text.length.toLocaleString('en')} characters.`;
  return [focusable(block, label), make('p', { class: 'muted small' }, note)];
};

// A block that scrolls can be reached and scrolled by keyboard.
const focusable = (block, label) => {
  requestAnimationFrame(() => {
    if (block.scrollHeight > block.clientHeight + 1) {
      block.setAttribute('tabindex', '0');
      block.setAttribute('role', 'group');
      block.setAttribute('aria-label', label);
    }
  });
  return block;
};

const meantNode = (meant) => (meant?.length ? make('p', { class: 'meant', dir: 'auto' }, meant.join('; ')) : null);

const boxWords = (one, answer, i) => {
  if (!one.boxes) return null;
  const overlap = INDEX.overlaps[valueOf('task', i)];
  const boxes = answer.boxes ?? [];
  const best = boxes.map((box) => box[5].toFixed(2)).join(', ');
  if (overlap === null || overlap === undefined) return make('p', { class: 'small' }, `Boxes: ${boxes.length}. Best overlaps: ${best || '–'}.`);
  const wrong = boxes.filter((box) => box[6] === false).length;
  const missed = answer.missed?.length ?? 0;
  const counted = `${boxes.length - wrong} of ${one.boxes.length} reference boxes matched (overlap above ${overlap})`;
  return make('p', { class: 'small' }, `${counted}, ${wrong} false, ${missed} missed.${best ? ` Best overlap of each box: ${best}.` : ''}`);
};

const FATES = { matched: '✓ matched', missing: '✗ missing', false: '✗ false' };

const findingsNode = (answer, i) => {
  if (!answer.findings) return null;
  const list = make('ul', { class: 'findings' });
  // A matched finding stands on both sides: the reference's, with its errors, is enough.
  for (const [judge, side, finding, significance, fate, errors] of answer.findings) {
    if (side === 'predicted' && fate === 'matched') continue;
    const item = make('li', { class: fate }, make('span', { class: 'fate' }, FATES[fate] ?? fate), ' ', make('bdi', {}, finding));
    item.append(make('span', { class: 'muted' }, ` ${words(significance)}`));
    if (errors.length) item.append(make('span', { class: 'attribute' }, `wrong: ${errors.join(', ')}`));
    if (list.childElementCount === 0) item.dataset.judge = judge;
    list.append(item);
  }
  const judges = [...new Set(answer.findings.map((finding) => finding[0]))];
  const named = judges.map((judge) => (INDEX.ruleBased.includes(judge) ? `${judge} (rules, no model)` : judge)).join(', ');
  const doubt = INDEX.exploratory.includes(valueOf('modality', i)) ? '; exploratory: not a chest X-ray' : '';
  return make('div', {}, make('h5', {}, `Findings by ${named}${doubt}`), list);
};

const scoresNode = (answer) => {
  if (!answer.scores) return null;
  const list = make('dl', { class: 'scores' });
  for (const [name, value, status] of answer.scores) {
    const text = value === null ? (status ?? 'no value') : value.toFixed(3);
    list.append(make('div', {}, make('dt', {}, words(name)), make('dd', {}, text)));
  }
  return make('details', {}, make('summary', {}, 'All scores of this report'), list);
};

const MOST_READINGS = 8;

const samplesNode = (answer) => {
  if (!answer.samples) return null;
  const total = answer.samples.reduce((sum, [, count]) => sum + count, 0);
  const shown = answer.samples.slice(0, MOST_READINGS);
  const line = make('p', { class: 'small samples' }, `${total} answers: `);
  shown.forEach(([reading, count], place) => {
    line.append(place ? ', ' : '', reading === null ? make('em', {}, 'not readable') : make('bdi', {}, reading || '(nothing)'), ` × ${count}`);
  });
  if (answer.samples.length > shown.length) line.append(` and ${answer.samples.length - shown.length} more readings`);
  return line;
};

const SEEN = { 'a row that its training saw': 'seen in training', 'a row whose look-alike its training saw': 'look-alike seen in training' };

const answerNode = (i, one, s) => {
  const answer = one.answers[s];
  const outcome = INDEX.outcomes[ANSWERS[s].outcome[i]];
  const error = ANSWERS[s].error[i];
  const head = make('h4', {}, swatch(s), make('bdi', {}, SYSTEMS[s]), chipNode(s, i));
  if (outcome !== 'valid') head.append(make('span', { class: 'chip outcome' }, outcome));
  if (error !== null) head.append(make('span', { class: 'chip plain' }, `off by ${error.toLocaleString('en', { maximumSignificantDigits: 4 })}`));
  for (const [sign, text] of Object.entries(SEEN)) {
    if (ANSWERS[s].signs[i] & INDEX.signs[sign]) head.append(make('span', { class: 'chip outcome' }, text));
  }
  const card = make('section', { class: 'answer', 'data-system': SYSTEMS[s] }, head);
  card.style.borderLeftColor = sideColour(s);
  if (answer.final !== undefined) {
    card.append(...textNode(answer.final, `Answer of ${SYSTEMS[s]}`));
    const title = answer.cut ? 'With its thoughts, which are cut' : 'As the model wrote it, with boxes in its own form';
    card.append(make('details', {}, make('summary', {}, title), ...textNode(answer.text, `Whole answer of ${SYSTEMS[s]}`)));
  } else card.append(...textNode(answer.text, `Answer of ${SYSTEMS[s]}`));
  if (answer.fault !== undefined) card.append(make('p', { class: 'warning small' }, 'Boxes in the model\'s own form cannot be read: ', make('bdi', {}, answer.fault)));
  if (answer.lenient !== undefined) card.append(make('p', { class: 'small' }, 'Read leniently: ', make('bdi', {}, shownText(answer.lenient))));
  for (const part of [samplesNode(answer), meantNode(answer.meant), boxWords(one, answer, i), findingsNode(answer, i), scoresNode(answer)]) if (part) card.append(part);
  return card;
};

const referenceNode = (one) => {
  const head = make('h4', {}, swatch(REFERENCE), 'reference');
  const card = make('section', { class: 'answer reference' }, head, ...textNode(one.reference, 'Reference'));
  card.style.borderLeftColor = INDEX.referenceColour;
  const meant = meantNode(one.meant);
  if (meant) card.append(meant);
  return card;
};

const metricWords = (i) => {
  const metric = INDEX.metrics[valueOf('task', i)];
  return `Colours follow the row's score by the task's own metric${metric ? ` (${metric} heads the tables)` : ''}: right is 1, wrong is 0.`;
};

const caseNodes = (i, one) => {
  const title = make('h3', { id: 'case-title', tabindex: '-1' }, words(valueOf('task', i)), ' · ', make('bdi', {}, valueOf('subset', i)), ' · ', make('bdi', {}, valueOf('modality', i)));
  const place = make('p', { class: 'muted small' }, make('code', {}, uidOf(i)), `; case ${one.case}`);
  const notes = one.notes ? make('p', { class: 'warning small' }, one.notes.join('; ')) : null;
  const question = make('div', { class: 'question' }, make('h4', {}, 'question'), ...textNode(one.question, 'Question'));
  const order = [...COMPARED, ...SYSTEMS.map((_, s) => s).filter((s) => !COMPARED.includes(s))];
  const answers = make('div', { class: 'answers' }, referenceNode(one), ...order.map((s) => answerNode(i, one, s)));
  const body = make('div', { class: one.images.length ? 'case-body with-images' : 'case-body' }, one.images.length ? imagesNode(i, one) : null, answers);
  const nodes = [title, place, notes, question, body];
  nodes.push(make('p', { class: 'muted small' }, metricWords(i)));
  return nodes.filter((node) => node !== null);
};
