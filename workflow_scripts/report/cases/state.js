// What is looked for, in which order, and which case is open: all of it stands in the address after the #.

const [FROM, TO] = INDEX.pair;
const FIELDS = ['task', 'subset', 'modality', 'system', 'score', 'outcome', 'shows', 'change', 'from', 'to', 'sort', 'text'];
const state = Object.fromEntries([...FIELDS, 'case'].map((name) => [name, '']));
let matching = []; // numbers of the cases that are looked for, in order
let open = -1; // number of the open case

const stateText = () => {
  const given = new URLSearchParams();
  for (const name of [...FIELDS, 'case']) if (state[name]) given.set(name, state[name]);
  return given.toString();
};
const readState = (text) => {
  const given = new URLSearchParams(text);
  for (const name of [...FIELDS, 'case']) state[name] = given.get(name) ?? '';
  // Links from the tables name both systems; the pair that is compared anyway stands for itself.
  if (state.from === SYSTEMS[FROM]) state.from = '';
  if (state.to === SYSTEMS[TO]) state.to = '';
};

const systemNumber = (name, otherwise) => {
  const number = SYSTEMS.indexOf(name);
  return number < 0 ? otherwise : number;
};
const fromSystem = () => systemNumber(state.from, FROM);
const toSystem = () => systemNumber(state.to, TO);

// How much better `to` is than `from`, in thousandths of the row's score; of equal scores the smaller error counts.
const gainOf = (i, from, to) => {
  const [one, other] = [ANSWERS[from], ANSWERS[to]];
  if (one.score[i] < 0 || other.score[i] < 0) return null;
  const gain = other.score[i] - one.score[i];
  if (gain !== 0 || one.error[i] === null || other.error[i] === null) return gain;
  const saved = one.error[i] - other.error[i];
  return saved / (1 + Math.abs(saved));
};

const spreadOf = (i) => {
  let [low, high] = [1001, -1];
  for (const s of COMPARED) {
    const score = ANSWERS[s].score[i];
    if (score >= 0) [low, high] = [Math.min(low, score), Math.max(high, score)];
  }
  return high < 0 ? -1 : high - low;
};

const lowestOf = (i) => {
  const among = state.system ? [systemNumber(state.system, TO)] : COMPARED;
  return Math.min(...among.map((s) => (ANSWERS[s].score[i] < 0 ? 1001 : ANSWERS[s].score[i])));
};

const isMatch = () => {
  const code = (name) => (state[name] ? INDEX.columns[name].values.indexOf(state[name]) : -2);
  const [task, subset, modality] = ['task', 'subset', 'modality'].map(code);
  const { task: tasks, subset: subsets, modality: modalities } = INDEX.columns;
  const level = state.score ? INDEX.levels.indexOf(state.score) : -2;
  const outcome = state.outcome ? INDEX.outcomes.indexOf(state.outcome) : -2;
  const sign = state.shows ? (INDEX.signs[state.shows] ?? -1) : 0;
  const among = state.system ? [systemNumber(state.system, -1)] : COMPARED;
  const [from, to] = [fromSystem(), toSystem()];
  const answers = (s, i) =>
    s >= 0 &&
    (level === -2 || ANSWERS[s].level[i] === level) &&
    (outcome === -2 || ANSWERS[s].outcome[i] === outcome) &&
    (sign === 0 || (sign > 0 && (ANSWERS[s].signs[i] & sign) !== 0));
  const anyAnswer = level === -2 && outcome === -2 && sign === 0;
  const changes = (i) => {
    const gain = gainOf(i, from, to);
    if (gain === null) return false;
    return state.change === 'improved' ? gain > 0 : state.change === 'harmed' ? gain < 0 : gain === 0;
  };
  return (i) =>
    (task === -2 || tasks.places[i] === task) &&
    (subset === -2 || subsets.places[i] === subset) &&
    (modality === -2 || modalities.places[i] === modality) &&
    (anyAnswer || among.some((s) => answers(s, i))) &&
    (!state.change || changes(i));
};

const SORTS = {
  improved: (i) => -(gainOf(i, fromSystem(), toSystem()) ?? -1e6),
  harmed: (i) => gainOf(i, fromSystem(), toSystem()) ?? 1e6,
  disagree: (i) => -spreadOf(i),
  lowest: (i) => lowestOf(i),
};

const findMatches = async () => {
  const fits = isMatch();
  let numbers = [];
  for (let i = 0; i < COUNT; i++) if (fits(i)) numbers.push(i);
  const wanted = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length) {
    const texts = await searchTexts();
    numbers = numbers.filter((i) => wanted.every((word) => texts[i].includes(word)));
  }
  const rank = SORTS[state.sort];
  if (rank) {
    const ranks = new Float64Array(COUNT);
    for (const i of numbers) ranks[i] = rank(i);
    numbers.sort((i, j) => ranks[i] - ranks[j] || i - j);
  }
  return numbers;
};

// Cases of the same task that went the same way for the two compared systems, with the same faults of the second.
const isLike = (i, j) => {
  const [from, to] = [ANSWERS[fromSystem()], ANSWERS[toSystem()]];
  const { task } = INDEX.columns;
  return (
    task.places[i] === task.places[j] &&
    from.level[i] === from.level[j] &&
    to.level[i] === to.level[j] &&
    to.outcome[i] === to.outcome[j] &&
    to.signs[i] === to.signs[j]
  );
};
const nextLike = (i) => {
  const order = matching.includes(i) ? matching : Array.from({ length: COUNT }, (_, j) => j);
  const start = order.indexOf(i);
  for (let step = 1; step < order.length; step++) {
    const j = order[(start + step) % order.length];
    if (isLike(i, j)) return j;
  }
  return -1;
};
