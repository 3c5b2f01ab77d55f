// Drives the demo page in a headless Chromium; by hand, as it needs npm packages.
//
//   npm install onnxruntime-web playwright-core
//   python -m experiments.export --format=onnx --workdir=DIR \
//       --web_runtime=node_modules/onnxruntime-web/dist
//   node tests/experiments/export/demo_page.mjs DIR PHOTO X,Y,WIDTH,HEIGHT CHROMIUM OUT
//
// The photo is chosen, a box drawn with the mouse, and the landmarks saved by the
// button: OUT.json and OUT.png. It fails if the page asks another machine for anything,
// or says anything on its console.
import {createReadStream, existsSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:http';
import {createRequire} from 'node:module';
import {extname, join, resolve} from 'node:path';

const {chromium} = createRequire(resolve('x.js'))('playwright-core');
const [folder, photo, box, executablePath, out] = process.argv.slice(2);
const [x, y, width, height] = box.split(',').map(Number);
const types = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript',
  '.json': 'application/json', '.wasm': 'application/wasm',
};

const server = createServer((request, response) => {
  const name = join(folder, request.url === '/' ? 'index.html' : request.url);
  if (!existsSync(name)) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader('Content-Type', types[extname(name)] || 'application/octet-stream');
  createReadStream(name).pipe(response);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const origin = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
const problems = [];
try {
  const page = await browser.newPage({viewport: {width: 1200, height: 1000}});
  page.setDefaultTimeout(600_000);
  page.on('console', (message) => problems.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !/^(blob|data):/.test(url)) {
      problems.push(`request: ${url}`);
    }
  });
  const reached = (state) =>
    page.waitForFunction(
      (wanted) => ['failed', wanted].includes(document.body.dataset.state), state);
  await page.goto(origin);
  await reached('ready');
  console.log(await page.textContent('#status'));
  await page.setInputFiles('#file', photo);
  await reached('done');
  console.log(await page.textContent('#status'));

  const place = await page.locator('#photo').boundingBox();
  const scale = place.width / (await page.locator('#photo').evaluate((c) => c.width));
  const at = (u, v) => [place.x + (u + 0.5) * scale, place.y + (v + 0.5) * scale];
  await page.mouse.move(...at(x, y));
  await page.mouse.down();
  await page.mouse.move(...at(x + width, y + height), {steps: 5});
  await page.mouse.up();
  await reached('done');
  console.log(await page.textContent('#status'));
  const [download] = await Promise.all([
    page.waitForEvent('download'), page.click('#save'),
  ]);
  await download.saveAs(`${out}.json`);
  writeFileSync(`${out}.png`, await page.screenshot({fullPage: true}));
  if ((await page.evaluate(() => document.body.dataset.state)) !== 'done') {
    problems.push(`state: ${await page.textContent('#status')}`);
  }
} finally {
  await browser.close();
  server.close();
}
problems.forEach((problem) => console.error(problem));
process.exitCode = problems.length ? 1 : 0;
