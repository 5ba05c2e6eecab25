// Images with boxes: an SVG in the image's own pixels lies over each, so that boxes stay in place at every size.

const DASHES = ['9 5', '3 3', '12 4 3 4', '6 2', '1.5 4', '14 6'];
const REFERENCE = -1;
// No system has a space in its name.
const sideName = (side) => (side === REFERENCE ? 'the reference' : SYSTEMS[side]);
const sideColour = (side) => (side === REFERENCE ? INDEX.referenceColour : INDEX.colours[SYSTEMS[side]]);
const sideDash = (side) => (side === REFERENCE ? 'none' : DASHES[side % DASHES.length]);
const drawnSides = new Set([REFERENCE, ...new Set([FROM, TO])]);
let zoom = 'fit';

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
  setZoom(container, zoom);
  showSides(container);
  return container;
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
