// The index of all cases, and the chunks that hold their texts, boxes and findings.

const element = (id) => document.getElementById(id);
const INDEX = JSON.parse(element('case-index').textContent);
const SYSTEMS = INDEX.systems;
const ANSWERS = INDEX.answers;
const COUNT = INDEX.columns.task.places.length;
const MODELS = SYSTEMS.map((_, s) => s).filter((s) => !INDEX.baselines.includes(SYSTEMS[s]));
const COMPARED = MODELS.length ? MODELS : SYSTEMS.map((_, s) => s);
const UNSCORED = INDEX.levels.indexOf('unscored');

const valueOf = (name, i) => {
  const { values, places } = INDEX.columns[name];
  return values[places[i]];
};
const uidOf = (i) => {
  const stem = valueOf('stem', i);
  return stem ? `${stem}/${valueOf('tail', i)}` : valueOf('tail', i);
};
const words = (name) => name.replaceAll('_', ' ');

const numberOfUid = (uid) => {
  const cut = uid.lastIndexOf('/');
  const { stem, tail } = INDEX.columns;
  const stemPlace = stem.values.indexOf(cut < 0 ? '' : uid.slice(0, cut));
  const tailPlace = tail.values.indexOf(uid.slice(cut + 1));
  for (let i = 0; i < COUNT; i++) if (stem.places[i] === stemPlace && tail.places[i] === tailPlace) return i;
  return -1;
};

const unpack = async (number) => {
  const packed = atob(element(`cases-${number}`).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
};

const MOST_UNPACKED = 8;
const unpacked = new Map();
const chunkOf = (number) => {
  const chunk = unpacked.get(number) ?? unpack(number);
  unpacked.delete(number); // the newest stand last
  unpacked.set(number, chunk);
  if (unpacked.size > MOST_UNPACKED) unpacked.delete(unpacked.keys().next().value);
  return chunk;
};
const caseAt = async (i) => (await chunkOf(Math.floor(i / INDEX.chunk)))[i % INDEX.chunk];

// A text, or what the page holds of a long one.
const shownText = (text) => (typeof text === 'string' ? text : (text?.start ?? ''));

// All texts of each case in lower case, unpacked once, when somebody first searches.
let searched = null;
const searchTexts = () => {
  searched ??= (async () => {
    const texts = [];
    for (let number = 0; number * INDEX.chunk < COUNT; number++) {
      for (const one of await unpack(number)) {
        const answers = one.answers.flatMap((answer) => [
          shownText(answer.text),
          ...(answer.meant ?? []),
          ...(answer.findings ?? []).map((finding) => finding[2]),
        ]);
        const parts = [uidOf(texts.length), one.case, shownText(one.question), shownText(one.reference), ...one.meant];
        texts.push([...parts, ...answers].join('\n').toLowerCase());
      }
    }
    return texts;
  })();
  return searched;
};

// Texts show what turns their direction: `visible` is core/pages' own.
const inserted = (child) => (typeof child === 'string' ? visible(child) : child);

// Elements are made of tags and text nodes alone: nothing that a model or a dataset wrote is read as markup.
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map(inserted));
  return node;
};
const drawn = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
