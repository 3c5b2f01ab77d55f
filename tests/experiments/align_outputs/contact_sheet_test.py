"""The contact sheet: its order, its files, and names that would break a page.

A browser opens it too, if there is one: `pip install playwright`, and the Chromium of
`playwright install chromium` or the one that the variable CHROMIUM names.
"""

import base64
import html.parser
import json
import os
import pathlib
import re
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from experiments.align_outputs import contact_sheet
from pifa_jax.geometry import photo_mesh
from tests.results.toy_face import MODEL, make_face

_HOSTILE = (
  '</script><script>window.hacked=1</script>.jpg',
  '<img src=x onerror="window.hacked=1">.jpg',
  '{{script}}\'"&quot;\u2028 #?%.jpg',
  'javascript:alert(1)',
)


class _Tags(html.parser.HTMLParser):
  """Counts tags, and keeps the content of scripts."""

  def __init__(self):
    super().__init__()
    self.tags, self.scripts, self.policy = [], [], ''

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    if tag == 'meta' and dict(attrs).get('http-equiv'):
      self.policy = dict(attrs)['content']
    if tag == 'script':
      self.scripts.append('')

  def handle_data(self, data):
    if self.tags and self.tags[-1] == 'script':
      self.scripts[-1] += data


class ContactSheetTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def sheet(self):
    sheet = contact_sheet.ContactSheet(self.root, title='<b>Faces</b>')
    for number, confidence in enumerate((0.9, 0.3, None)):
      face = make_face(20.0 * number, confidence=confidence)
      sheet.add(
        'plain.jpg',
        number,
        face,
        actions={'jawOpen': 0.7, 'smile': 0.01},
        overlay='plain.jpg_overlay.png',
        files=[('pts', f'plain.jpg_{number}.pts')],
      )
    for name in _HOSTILE:
      sheet.add(name, 0, make_face(confidence=0.6), overlay=name, files=[('o', name)])
    sheet.add_lost(_HOSTILE[0], 'no <b>face</b> was found', 4)
    return sheet

  def faces(self):
    tags = _Tags()
    tags.feed((self.root / 'index.html').read_text())
    return json.loads(tags.scripts[0])['faces'], tags

  def test_lost_faces_are_first_and_doubtful_ones_next(self):
    self.sheet().write()
    faces, _ = self.faces()
    self.assertEqual([f.get('confidence') for f in faces[:2]], [None, 0.3])
    self.assertEqual(faces[0]['reason'], 'no <b>face</b> was found')
    self.assertTrue(faces[1]['doubtful'])
    self.assertEqual([f['confidence'] for f in faces[-2:]], [0.9, None])
    self.assertEqual(faces[1]['actions'], [['jawOpen', 0.7]])
    self.assertFalse(any(f.get('doubtful') for f in faces[2:]))

  def test_hostile_names_are_text(self):
    self.sheet().write()
    faces, tags = self.faces()
    # The same tags as on a page without any face: no name became one.
    plain = _Tags()
    plain.feed(contact_sheet.ContactSheet(self.root).page())
    self.assertEqual(tags.tags, plain.tags)
    self.assertLen(tags.scripts, 2)
    self.assertEqual({f['name'] for f in faces}, {*_HOSTILE, 'plain.jpg'})
    for face in faces:
      for path in [face.get('overlay')] + [path for _, path in face.get('files', [])]:
        self.assertRegex(path or './', r'^\./[\w%./~-]*$')

  def test_the_policy_allows_this_script_and_no_network(self):
    self.sheet().write()
    _, tags = self.faces()
    self.assertStartsWith(tags.policy, "default-src 'none'")
    self.assertNotIn('http', tags.policy)
    self.assertNotIn("script-src 'unsafe-inline'", tags.policy)
    page = (self.root / 'index.html').read_text()
    self.assertNotRegex(page, r'(src|href)="(https?:)?//')

  def test_pictures_and_meshes_lie_beside_the_page(self):
    self.sheet().write()
    faces, _ = self.faces()
    for face in faces[1:]:
      with Image.open(self.root / face['picture']) as image:
        self.assertEqual(max(image.size), 400)
      text = (self.root / face['mesh']).read_text()
      call = re.fullmatch(r'pifaMesh\("([\w./]+)", "(\S+)", "(\S+)"\);\n', text)
      self.assertEqual(call[1], face['mesh'])
      places = np.frombuffer(base64.b64decode(call[2]), '<i2').reshape(-1, 3)
      colors = np.frombuffer(base64.b64decode(call[3]), np.uint8).reshape(-1, 3)
      self.assertLen(places, MODEL.num_vertices)
      self.assertLen(colors, MODEL.num_vertices)
    wanted = photo_mesh.viewer_vertices(make_face(confidence=0.6).vertices)
    hostile = next(f for f in faces[1:] if f['name'] == _HOSTILE[1])
    text = (self.root / hostile['mesh']).read_text()
    places = np.frombuffer(base64.b64decode(text.split('"')[3]), '<i2').reshape(-1, 3)
    np.testing.assert_allclose(
      places / 32767 * np.linalg.norm(wanted, axis=1).max(), wanted, atol=0.01
    )

  def test_faces_out_of_their_photo_have_a_picture(self):
    sheet = contact_sheet.ContactSheet(self.root, most_meshes=1)
    for middle in ((-900.0, 50.0), (5000.0, 9000.0)):
      sheet.add('a.jpg', 0, make_face(middle=middle))
    sheet.add('a.jpg', 0, make_face(scale=200.0))
    sheet.add('a.jpg', 0, make_face(scale=1e-4))
    sheet.write()
    # Four pictures, and the mesh of the first face with its triangles.
    self.assertLen(list((self.root / 'index_files').glob('*.jpg')), 4)
    self.assertLen(list((self.root / 'index_files').glob('*.js')), 2)
    faces, _ = self.faces()
    self.assertEqual([face['mesh'] is None for face in faces], [False] + [True] * 3)

  def test_in_a_browser(self):
    try:
      from playwright import sync_api
    except ImportError:
      self.skipTest('playwright is not installed')
    self.sheet().write()
    with sync_api.sync_playwright() as play:
      program = os.environ.get('CHROMIUM') or play.chromium.executable_path
      if not os.path.exists(program):
        self.skipTest('there is no Chromium')
      browser = play.chromium.launch(
        executable_path=program,
        args=['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader'],
      )
      try:
        self.check_page(browser.new_page())
      finally:
        browser.close()

  def check_page(self, page):
    problems, requests = [], []
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.on(
      'console',
      lambda line: problems.append(line.text) if line.type == 'error' else None,
    )
    page.on('request', lambda request: requests.append(request.url))
    page.goto((self.root / 'index.html').as_uri())
    rows = page.locator('#faces tbody tr')
    self.assertEqual(rows.count(), 8)
    self.assertIn('no <b>face</b> was found', rows.first.inner_text())
    page.locator('th button', has_text='yaw').click()
    self.assertEqual(rows.first.locator('td').nth(4).inner_text(), '0.0')
    page.locator('th button', has_text='yaw').click()
    self.assertEqual(rows.first.locator('td').nth(4).inner_text(), '40.0')
    page.fill('#find', 'PLAIN')
    self.assertEqual(rows.count(), 3)
    rows.first.locator('td button').click()
    page.wait_for_function('viewer.count > 0')
    before = page.locator('#canvas').screenshot()
    box = page.locator('#canvas').bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    self.assertAlmostEqual(page.evaluate('viewer.yaw'), 0.6, delta=0.05)
    self.assertNotEqual(page.locator('#canvas').screenshot(), before)
    page.locator('#next').click()
    self.assertIn('face 1', page.locator('#closer-title').inner_text())
    page.locator('#close').click()
    page.fill('#find', '')
    for row in range(1, 8):
      button = rows.nth(row).locator('td button')
      if button.count():
        button.click()
        page.locator('#close').click()
    self.assertIsNone(page.evaluate('window.hacked || null'))
    self.assertEqual(problems, [])
    self.assertEqual([url for url in requests if not url.startswith('file:')], [])


if __name__ == '__main__':
  absltest.main()
