'use strict';
// The names of files come from anywhere: text is only ever set as text.
const data = JSON.parse(document.getElementById('data').textContent);
const get = (id) => document.getElementById(id);
const PAGE = 500; // rows that are shown at a time

const columns = [
  { name: '' },
  { name: 'photo', key: (f) => f.name },
  { name: 'face', key: (f) => f.face },
  { name: 'confidence', key: (f) => f.confidence, digits: 2 },
  { name: 'yaw', key: (f) => f.yaw, digits: 1 },
  { name: 'pitch', key: (f) => f.pitch, digits: 1 },
  { name: 'roll', key: (f) => f.roll, digits: 1 },
  { name: 'size', key: (f) => f.size, digits: 0 },
  { name: 'hidden', key: (f) => f.hidden, digits: 0 },
];
const text = (value, digits) =>
  value === null || value === undefined ? '' :
    digits === undefined ? String(value) : value.toFixed(digits);

function element(kind, content) {
  const made = document.createElement(kind);
  if (content !== undefined) made.textContent = content;
  return made;
}

// ---- the table

let order = data.faces.slice(); // as the program sorted them: lost ones first
let shown = order;
let limit = PAGE;

function compare(key, sign) {
  return (a, b) => {
    const x = key(a), y = key(b);
    const noX = x === null || x === undefined, noY = y === null || y === undefined;
    if (noX || noY) return noX - noY; // what has no value is last, either way
    const less = typeof x === 'string' ? x.localeCompare(y, undefined, { numeric: true })
      : x - y;
    return sign * less;
  };
}

function sortBy(column, head) {
  const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
  for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
  order = order.slice().sort(compare(column.key, sign));
  render();
}

function rowOf(face) {
  const row = element('tr');
  row.className = face.reason ? 'lost' : face.doubtful ? 'doubtful' : '';
  for (const column of columns) {
    const cell = element('td');
    if (!column.key && face.picture) {
      const button = element('button');
      button.type = 'button';
      button.setAttribute('aria-label', `look closer at ${face.name}, face ${face.face}`);
      const image = element('img');
      image.loading = 'lazy';
      image.alt = '';
      image.src = face.picture;
      button.append(image);
      button.addEventListener('click', () => open(face));
      cell.append(button);
    } else if (column.key) {
      cell.textContent = text(column.key(face), column.digits);
      if (column.name === 'photo' && face.reason) {
        cell.append(element('small', face.reason));
      }
    }
    row.append(cell);
  }
  return row;
}

function render() {
  const wanted = get('find').value.toLowerCase();
  shown = order.filter((face) => face.name.toLowerCase().includes(wanted));
  document.querySelector('#faces tbody').replaceChildren(
    ...shown.slice(0, limit).map(rowOf));
  get('more').hidden = shown.length <= limit;
  const lost = shown.filter((face) => face.reason).length;
  const found = shown.length - lost;
  get('count').textContent = `${found} face${found === 1 ? '' : 's'}` +
    (lost ? `, ${lost} lost` : '') +
    (data.meshes < data.all
      ? `; only the first ${data.meshes} of the run have a mesh here, --save=glb writes all`
      : '');
}

for (const column of columns) {
  const head = element('th');
  head.scope = 'col';
  if (column.key) {
    const button = element('button', column.name);
    button.type = 'button';
    button.addEventListener('click', () => sortBy(column, head));
    head.append(button);
  }
  document.querySelector('#faces thead tr').append(head);
}
get('find').addEventListener('input', () => { limit = PAGE; render(); });
get('tiles').addEventListener('change', (event) => {
  document.body.classList.toggle('tiles', event.target.checked);
});
get('more').addEventListener('click', () => { limit += PAGE; render(); });

// ---- one face, closer

let current = null;

function open(face) {
  current = face;
  get('closer-title').textContent = `${face.name}, face ${face.face}`;
  get('picture').src = face.picture;
  const whole = get('whole');
  if (face.overlay) whole.href = face.overlay; else whole.removeAttribute('href');
  get('facts').textContent = columns.slice(3)
    .filter((column) => text(column.key(face), column.digits) !== '')
    .map((column) => `${column.name} ${text(column.key(face), column.digits)}`)
    .join(', ') + ' (degrees, pixels)';
  get('actions').replaceChildren(...(face.actions || []).map(
    ([name, value]) => element('span', `${name} ${value.toFixed(2)}`)));
  get('files').replaceChildren(...(face.files || []).map(([kind, path]) => {
    const link = element('a', kind);
    link.href = path;
    return link;
  }));
  get('mesh').hidden = !face.mesh;
  if (!get('closer').open) get('closer').showModal();
  if (face.mesh) viewer.show(face.mesh);
}

function step(by) {
  const faces = shown.filter((face) => face.picture);
  const place = faces.indexOf(current) + by;
  if (place >= 0 && place < faces.length) open(faces[place]);
}
get('previous').addEventListener('click', () => step(-1));
get('next').addEventListener('click', () => step(1));
get('close').addEventListener('click', () => get('closer').close());
get('closer').addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft') step(-1);
  if (event.key === 'ArrowRight') step(1);
});

// ---- the mesh. Meshes are scripts: a page that was opened from the file system may
// load no other files.

const VERTEX = `
attribute vec3 place; attribute vec3 color; attribute vec3 normal;
uniform mat3 turn; uniform float zoom; uniform float plain;
varying vec3 shown;
void main() {
  vec3 at = turn * place;
  gl_Position = vec4(at.xy * zoom, -at.z * 0.4, 1.0);
  float light = 0.25 + 0.75 * max(dot(turn * normal, normalize(vec3(-0.35, 0.45, 0.82))), 0.0);
  shown = mix(color, vec3(0.82, 0.8, 0.78) * light, plain);
}`;
const FRAGMENT = `
precision mediump float;
varying vec3 shown;
void main() { gl_FragColor = vec4(shown, 1.0); }`;

function bytes(base64) {
  const raw = atob(base64);
  const array = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
  return array.buffer;
}

function normalsOf(places, triangles) {
  const normals = new Float32Array(places.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
    const u = [0, 1, 2].map((i) => places[b + i] - places[a + i]);
    const v = [0, 1, 2].map((i) => places[c + i] - places[a + i]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2],
      u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) normals[corner + i] += n[i];
  }
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
    for (let k = 0; k < 3; k++) normals[i + k] /= length;
  }
  return normals;
}

const START = 1.1; // no mesh reaches further than 1 from its middle
const viewer = {
  gl: null, program: null, triangles: null, wanted: null, count: 0,
  yaw: 0, pitch: 0, zoom: START,

  start() {
    if (this.gl) return true;
    const gl = get('canvas').getContext('webgl', { antialias: true });
    if (!gl || !gl.getExtension('OES_element_index_uint')) {
      get('mesh-note').textContent = 'This browser shows no meshes (no WebGL).';
      return false;
    }
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    Object.assign(this, { gl, program });
    get('mesh-note').textContent = 'Drag to turn, wheel to zoom, double click to reset.';
    return true;
  },

  // Called by the scripts that hold triangles and meshes.
  gotTriangles(base64) {
    this.triangles = new Uint32Array(bytes(base64));
    const gl = this.gl;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.triangles, gl.STATIC_DRAW);
  },

  gotMesh(path, placesBase64, colorsBase64) {
    if (path !== this.wanted) return; // another face was opened since
    const places = Float32Array.from(new Int16Array(bytes(placesBase64)), (x) => x / 32767);
    const gl = this.gl;
    const put = (name, array, kind) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
      const where = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, 3, kind, kind === gl.UNSIGNED_BYTE, 0, 0);
    };
    put('place', places, gl.FLOAT);
    put('color', new Uint8Array(bytes(colorsBase64)), gl.UNSIGNED_BYTE);
    put('normal', normalsOf(places, this.triangles), gl.FLOAT);
    this.count = this.triangles.length;
    this.draw();
  },

  load(path, then) {
    const script = element('script');
    script.src = path;
    script.onload = () => { script.remove(); if (then) then(); };
    script.onerror = () => {
      script.remove();
      get('mesh-note').textContent = `The mesh lies in ${path}, which is not there.`;
    };
    document.head.append(script);
  },

  show(path) {
    if (!this.start()) return;
    this.wanted = path;
    Object.assign(this, { yaw: 0, pitch: 0, zoom: START, count: 0 });
    this.draw();
    const mesh = () => this.load(path);
    if (this.triangles) mesh(); else this.load(data.triangles, mesh);
  },

  draw() {
    const gl = this.gl;
    if (!gl) return;
    gl.clearColor(0.137, 0.145, 0.169, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.count) return;
    const [cy, sy] = [Math.cos(this.yaw), Math.sin(this.yaw)];
    const [cp, sp] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    // Column by column: first about the vertical axis, then about the horizontal one.
    gl.uniformMatrix3fv(gl.getUniformLocation(this.program, 'turn'), false,
      [cy, sy * sp, -sy * cp, 0, cp, sp, sy, -cy * sp, cy * cp]);
    gl.uniform1f(gl.getUniformLocation(this.program, 'zoom'), this.zoom);
    gl.uniform1f(gl.getUniformLocation(this.program, 'plain'),
      get('plain').checked ? 1 : 0);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  },
};
window.pifaMesh = (...mesh) => viewer.gotMesh(...mesh);
window.pifaTriangles = (base64) => viewer.gotTriangles(base64);

const canvas = get('canvas');
canvas.addEventListener('pointerdown', (event) => canvas.setPointerCapture(event.pointerId));
canvas.addEventListener('pointermove', (event) => {
  if (!event.buttons) return;
  viewer.yaw += event.movementX * 0.01;
  viewer.pitch += event.movementY * 0.01;
  viewer.draw();
});
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  viewer.zoom = Math.min(8, Math.max(0.3, viewer.zoom * Math.exp(-event.deltaY / 500)));
  viewer.draw();
}, { passive: false });
canvas.addEventListener('dblclick', () => {
  Object.assign(viewer, { yaw: 0, pitch: 0, zoom: START });
  viewer.draw();
});
get('plain').addEventListener('change', () => viewer.draw());

render();
