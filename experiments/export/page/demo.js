// A photo in, landmarks out, with onnxruntime-web; see index.html.
//
// Coordinates: boxes and landmarks count pixel centres from 0, like the files of
// experiments.align; a canvas counts edges from 0, which is half a pixel more.
import * as ort from './ort.wasm.min.mjs';

const status = document.getElementById('status');
const canvas = document.getElementById('photo');
const input = document.getElementById('file');
const save = document.getElementById('save');
const context = canvas.getContext('2d');

// The base is needed by the runtime, which loads its own files.
ort.env.wasm.wasmPaths = new URL('./', import.meta.url).href;
// More threads need headers that a plain file server does not send.
ort.env.wasm.numThreads = 1;

let facts, session, image, result, start, busy = false;

function say(text) {
  status.textContent = text;
}

function fail(error) {
  say(`Failed: ${error.message || error}`);
  document.body.dataset.state = 'failed';
}

/** The square about a box, like boxes.square_box: same centre, same area. */
function square([x, y, width, height]) {
  const side = Math.sqrt(width * height);
  return [x + (width - side) / 2, y + (height - side) / 2, side, side];
}

/** The pixels of a box at the size that the network takes; grey beyond the photo. */
function cropped([x, y, side]) {
  const size = facts.crop_size;
  const small = new OffscreenCanvas(size, size).getContext('2d', {
    willReadFrequently: true,
  });
  small.fillStyle = 'rgb(128, 128, 128)';
  small.fillRect(0, 0, size, size);
  small.imageSmoothingQuality = 'high';
  small.drawImage(image, x + 0.5, y + 0.5, side, side, 0, 0, size, size);
  const rgba = small.getImageData(0, 0, size, size).data;
  const rgb = new Uint8Array(size * size * 3);
  for (let i = 0; i < size * size; i++) {
    rgb.set(rgba.subarray(4 * i, 4 * i + 3), 3 * i);
  }
  return rgb;
}

/** A square of the same centre whose side is `factor` times as long. */
function scaled([x, y, side], factor) {
  const more = (factor - 1) * side;
  return [x - more / 2, y - more / 2, side + more, side + more];
}

/** One pass of the network in a square box; landmarks in pixels of the photo. */
async function fit(box) {
  const size = facts.crop_size;
  const seen = scaled(box, facts.crop_scale);
  const crops = new ort.Tensor('uint8', cropped(seen), [1, size, size, 3]);
  const found = await session.run({crops});
  const factor = seen[2] / size;
  const points = [];
  for (let i = 0; i < found.landmarks.data.length; i += 2) {
    points.push([
      seen[0] + (found.landmarks.data[i] + 0.5) * factor,
      seen[1] + (found.landmarks.data[i + 1] + 0.5) * factor,
    ]);
  }
  return {
    box,
    landmarks: points,
    visible: Array.from(found.visible.data, Boolean),
    yaw_degrees: found.yaw_degrees.data[0],
    pitch_degrees: found.pitch_degrees.data[0],
    roll_degrees: found.roll_degrees.data[0],
  };
}

/** The box of the second pass: about the landmarks of the first. */
function boxOf(points) {
  const bounds = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    const low = Math.min(...values), high = Math.max(...values);
    const side = facts.box_scale * Math.max(high - low, 1);
    return [(low + high - side) / 2, side];
  });
  return square([bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1]]);
}

function draw(box) {
  context.drawImage(image, 0, 0);
  const unit = Math.max(canvas.width, canvas.height) / 400;
  context.lineWidth = unit;
  context.strokeStyle = '#06c';
  if (box) {
    context.strokeRect(box[0] + 0.5, box[1] + 0.5, box[2], box[3]);
  }
  if (!box && result) {
    result.landmarks.forEach(([x, y], i) => {
      context.fillStyle = result.visible[i] ? '#0c0' : '#e00';
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, 1.2 * unit, 0, 2 * Math.PI);
      context.fill();
    });
  }
}

async function align(box) {
  if (busy) {
    return;
  }
  busy = true;
  document.body.dataset.state = 'busy';
  try {
    say('Looking ...');
    const began = performance.now();
    result = await fit(square(box));
    result = await fit(boxOf(result.landmarks));
    const time = performance.now() - began;
    draw();
    const angle = (name) => `${name} ${result[`${name}_degrees`].toFixed(0)}°`;
    const seen = result.visible.filter(Boolean).length;
    say(`${seen} of ${result.visible.length} landmarks face the camera; ` +
        `${['yaw', 'pitch', 'roll'].map(angle).join(', ')}; ${time.toFixed(0)} ms. ` +
        'Draw a box about another face, if there is one.');
    save.disabled = false;
    document.body.dataset.state = 'done';
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
}

async function open(file) {
  try {
    image = await createImageBitmap(file);
  } catch {
    fail(`${file.name} is not a photo that this browser reads.`);
    return;
  }
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.hidden = false;
  result = undefined;
  save.disabled = true;
  draw();
  // Until a box is drawn: a face in the middle.
  const side = 0.7 * Math.min(image.width, image.height);
  await align([(image.width - side) / 2, (image.height - side) / 2, side, side]);
}

function at(event) {
  const place = canvas.getBoundingClientRect();
  const factor = canvas.width / place.width;
  return [
    (event.clientX - place.left) * factor - 0.5,
    (event.clientY - place.top) * factor - 0.5,
  ];
}

function drawn(event) {
  const [x, y] = at(event);
  return [
    Math.min(x, start[0]), Math.min(y, start[1]),
    Math.abs(x - start[0]), Math.abs(y - start[1]),
  ];
}

canvas.addEventListener('pointerdown', (event) => {
  start = at(event);
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener('pointermove', (event) => {
  if (start) {
    draw(drawn(event));
  }
});
canvas.addEventListener('pointerup', (event) => {
  const box = start && drawn(event);
  start = undefined;
  if (box && Math.min(box[2], box[3]) >= 8) {
    align(box);
  } else {
    draw();
  }
});
canvas.addEventListener('pointercancel', () => {
  start = undefined;
  draw();
});
input.addEventListener('change', () => input.files[0] && open(input.files[0]));
save.addEventListener('click', () => {
  const text = JSON.stringify(result, null, 1);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  link.download = 'landmarks.json';
  link.click();
  URL.revokeObjectURL(link.href);
});

try {
  facts = await (await fetch('demo.json')).json();
  session = await ort.InferenceSession.create(facts.network);
  input.disabled = false;
  say('Ready. Choose a photo.');
  document.body.dataset.state = 'ready';
} catch (error) {
  fail(error);
}
