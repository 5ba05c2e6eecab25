// Images with boxes: an SVG in the image's own pixels lies over each, so that boxes stay in place at every size.

const DASHES = ['9 5', '3 3', '12 4 3 4', '6 2', '1.5 4', '14 6'];
const REFERENCE = -1;
// No system has a space in its name.
const sideName = (side) => (side === REFERENCE ? 'the reference' : SYSTEMS[side]);
const sideColour = (side) => (side === REFERENCE ? INDEX.referenceColour : INDEX.colours[SYSTEMS[side]]);
const sideDash = (side) => (side === REFERENCE ? 'none' : DASHES[side % DASHES.length]);
const drawnSides = new Set([REFERENCE, ...new Set([FROM, TO])]);
let zoom = 'fit';
let shownMap = ''; // the name of the explanation map that lies over images, as far as a case has it

const imageAddress = (number) => {
  const inside = element(`image-${number}`);
  return inside ? `data:${inside.dataset.type};base64,${inside.textContent}` : INDEX.files[number];
};

const strokes = (shape, side) => [
  drawn(shape.tag, { ...shape.at, class: 'casing' }),
  drawn(shape.tag, { ...shape.at, class: 'stroke', stroke: sideColour(side), 'stroke-dasharray': sideDash(side) }),
];

const swatch = (side) =>
  drawn(
    'svg',
    { class: 'swatch', width: 34, height: 10, viewBox: '0 0 34 10', 'aria-hidden': 'true' },
    ...strokes({ tag: 'line', at: { x1: 1, y1: 5, x2: 33, y2: 5 } }, side),
  );

const boxNodes = (boxes, side, width, height) =>
  boxes
    .filter(([, ...corners]) => corners.slice(0, 4).every((value) => value !== null))
    .map(([identity, x1, y1, x2, y2, overlap, matched]) => {
      const at = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
      const box = drawn('g', { class: 'box', 'data-side': sideName(side) }, ...strokes({ tag: 'rect', at }, side));
      const name = [identity, matched === false ? 'false' : null].filter((part) => part !== null).join(' · ');
      const tag = name ? make('span', { class: 'tag', 'data-side': sideName(side) }, name) : null;
      if (tag) {
        tag.style.left = `${(100 * Math.min(Math.max(x1, 0), width)) / width}%`;
        tag.style.top = `${(100 * Math.min(Math.max(side === REFERENCE ? y1 : y2, 0), height)) / height}%`;
        tag.style.borderColor = sideColour(side);
        tag.classList.toggle('below', side !== REFERENCE);
      }
      return [box, tag];
    });

const showSides = (container) => {
  for (const node of container.querySelectorAll('[data-side]')) {
    const side = SYSTEMS.indexOf(node.dataset.side);
    node.toggleAttribute('hidden', !drawnSides.has(side));
    if (node instanceof SVGElement) node.style.display = drawnSides.has(side) ? '' : 'none';
  }
};

const setZoom = (container, value) => {
  zoom = value;
  for (const frame of container.querySelectorAll('.frame')) {
    frame.style.width = zoom === 'fit' ? '' : `${Number(frame.dataset.width) * Number(zoom)}px`;
    frame.classList.toggle('fit', zoom === 'fit');
  }
  for (const button of container.querySelectorAll('[data-zoom]')) {
    button.setAttribute('aria-pressed', String(button.dataset.zoom === zoom));
  }
};

const imageNode = (i, one, place) => {
  const [number, width, height, role = ''] = one.images[place];
  const [frame, layer] = [make('div', { class: 'frame fit', 'data-width': width }), make('div', { class: 'tags' })];
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty('--shape', String(width / height));
  frame.append(make('img', { src: imageAddress(number), alt: `Image ${place + 1} of ${uidOf(i)}`, loading: 'lazy' }));
  if (one.boxes && place === one.boxed) {
    const svg = drawn('svg', {
      class: 'boxes',
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    });
    const sides = [[one.boxes, REFERENCE], ...one.answers.map((answer, s) => [answer.boxes ?? [], s])];
    for (const [boxes, side] of sides) {
      for (const [box, tag] of boxNodes(boxes, side, width, height)) {
        svg.append(box);
        if (tag) layer.append(tag);
      }
    }
    frame.append(svg, layer);
  }
  for (const [of, label, data, description] of one.maps ?? []) {
    if (of !== place) continue;
    frame.append(make('img', { class: 'overlay', 'data-map': label, src: `data:image/png;base64,${data}`, alt: description }));
  }
  const name = one.images.length > 1 ? `Image ${place + 1} of ${one.images.length}, ` : '';
  const caption = make('figcaption', {}, ...(role ? [make('strong', {}, role), ', '] : []), `${role ? '' : name}${width} × ${height} pixels`);
  return make('figure', { class: 'shot' }, make('div', { class: 'pan', tabindex: '0', role: 'group', 'aria-label': `Image ${place + 1}` }, frame), caption);
};

const imagesNode = (i, one) => {
  const container = make('div', { class: 'images' });
  const shots = make('div', { class: 'shots' }, ...one.images.map((_, place) => imageNode(i, one, place)));
  const tools = make('div', { class: 'tools', role: 'group', 'aria-label': 'Zoom' }, make('span', { class: 'muted' }, 'Zoom'));
  for (const value of ['fit', '1', '2', '4']) {
    const button = make('button', { type: 'button', 'data-zoom': value }, value === 'fit' ? 'fit' : `${value}×`);
    button.addEventListener('click', () => setZoom(container, value));
    tools.append(button);
  }
  container.append(shots, tools);
  if (one.boxes) container.append(legendNode(container));
  if (one.maps?.length) container.append(mapsNode(container, one));
  if (one.fills?.length) container.append(fillsNode(one));
  setZoom(container, zoom);
  showSides(container);
  showMap(container);
  return container;
};

// Explanation maps: one of them at a time lies over the images, in colours that the bar explains.
const showMap = (container) => {
  for (const node of container.querySelectorAll('.overlay, .map-words')) {
    node.toggleAttribute('hidden', node.dataset.map !== shownMap);
  }
  const mapped = container.querySelector('.overlay:not([hidden])') !== null;
  container.querySelector('.map-bar')?.toggleAttribute('hidden', !mapped);
  for (const frame of container.querySelectorAll('.frame')) frame.classList.toggle('mapped', mapped);
};

const fillsNode = (one) => {
  const list = make('ul', { class: 'fills' }, ...one.fills.map((words) => make('li', {}, words)));
  return make('div', {}, make('h5', {}, 'The answer once a region is filled'), list);
};

const mapsNode = (container, one) => {
  const labels = [...new Set(one.maps.map(([, label]) => label))];
  const select = make('select', { id: 'case-map' }, make('option', { value: '' }, 'none'), ...labels.map((label) => make('option', { value: label }, label)));
  select.value = labels.includes(shownMap) ? shownMap : '';
  select.addEventListener('change', () => {
    shownMap = select.value;
    showMap(container);
  });
  const ends = [make('span', {}, 'against'), make('span', { class: 'ramp', 'aria-hidden': 'true' }), make('span', {}, 'for the answer')];
  const bar = make('p', { class: 'map-bar small' }, ...ends);
  const texts = labels.map((label) => make('p', { class: 'map-words small', 'data-map': label }, one.maps.find((map) => map[1] === label)[4]));
  return make('div', { class: 'maps' }, make('label', {}, 'Explanation map ', select), bar, ...texts);
};

const legendNode = (container) => {
  const legend = make('fieldset', { class: 'legend' }, make('legend', {}, 'Boxes'));
  for (const side of [REFERENCE, ...SYSTEMS.map((_, s) => s)]) {
    const box = make('input', { type: 'checkbox', 'data-toggle': sideName(side) });
    box.checked = drawnSides.has(side);
    box.addEventListener('change', () => {
      if (box.checked) drawnSides.add(side);
      else drawnSides.delete(side);
      showSides(container);
    });
    legend.append(make('label', {}, box, swatch(side), make('bdi', {}, sideName(side))));
  }
  return legend;
};
