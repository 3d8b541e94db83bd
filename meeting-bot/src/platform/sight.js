// What a look and a press have in common: the page with its frames, its texts, and where a step's target lies.
// Read-only: looks, never touches. Runs in a world of its own, whose memory the page cannot see.
// Called with the pack's probe specification, returns functions for probe.js and press.js.
(function (spec) {
  const plain = (text) => (text || '').replace(/[\u2018\u2019\u02bc\u2032]/g, "'").replace(/[\u200b\u200c\u200d\u2060\ufeff\u00ad]/g, '').replace(/\s+/g, ' ').trim();
  const folded = (text) => plain(text).toLowerCase();
  const problems = [];
  const rendered = (element) => !element.checkVisibility || element.checkVisibility({ visibilityProperty: true });
  const visible = (element, least) => {
    const box = element.getBoundingClientRect();
    const [width, height] = least || [1, 1];
    return box.width >= width && box.height >= height && rendered(element);
  };

  // --- the page and its frames: each with the place of its upper left corner in the page ---------------------------
  const places = [];
  let foreign = 0;
  const enter = (root, x, y, frame) => {
    places.push({ root, x, y, frame });
    if (places.length > 20) return;
    for (const inner of root.querySelectorAll('iframe, frame')) {
      if (!visible(inner)) continue;
      const box = inner.getBoundingClientRect();
      let content = null;
      try { content = inner.contentDocument; } catch (error) { content = null; }
      if (content && content.body) {
        const style = getComputedStyle(inner);
        const pad = (side) => parseFloat(style[side]) || 0;
        enter(content, x + box.left + inner.clientLeft + pad('paddingLeft'), y + box.top + inner.clientTop + pad('paddingTop'), inner);
      } else if (!content && box.width * box.height > innerWidth * innerHeight / 4) {
        foreign += 1;
      }
    }
  };
  enter(document, 0, 0, null);
  const placeOf = (element) => places.find((place) => place.root === element.ownerDocument);

  const find = (selector) => {
    try { return places.flatMap(({ root }) => Array.from(root.querySelectorAll(selector))); } catch (error) { problems.push(selector); return []; }
  };

  // --- texts, without what people wrote themselves ---------------------------------------------------------------------
  const written = new Set(spec.user_content.flatMap(find));
  const above = new Set();
  for (const element of written) for (let up = element.parentNode; up; up = up.parentNode) above.add(up);
  const isWritten = (element) => { for (let up = element; up; up = up.parentNode) if (written.has(up)) return true; return false; };
  const textOf = (node) => {
    if (node.nodeType === 3) return node.data;
    if (node.nodeType !== 1 || written.has(node)) return '';
    const hidden = !rendered(node) && getComputedStyle(node).display !== 'contents';
    if (hidden) return '';
    if (!above.has(node)) return node.innerText === undefined ? node.textContent : node.innerText;
    return Array.from(node.childNodes, textOf).join('\n');
  };
  let whole = null;
  const pageText = () => (whole === null ? (whole = places.map(({ root }) => folded(root.body && textOf(root.body))).join(' \u0000 ')) : whole);
  const label = (element) => folded(element.getAttribute('aria-label'));
  const own = (element) => (element.innerText === undefined ? element.textContent : element.innerText);
  const known = new Map();
  const faces = (element) => {
    if (!known.has(element)) known.set(element, [folded(own(element)), label(element)]);
    return known.get(element);
  };
  const reads = (element, texts) => {
    const [shown, said] = faces(element);
    return texts.some((text) => folded(text) === shown || folded(text) === said);
  };
  const holdsText = (element, texts) => {
    if (texts.length === 0) return false;
    const [shown, said] = faces(element);
    return texts.some((text) => shown.includes(folded(text)) || said.includes(folded(text)));
  };

  // --- where a step's target lies ------------------------------------------------------------------------------------------
  const hitAt = (element, x, y) => element.ownerDocument.elementFromPoint(x, y);
  const covered = (element, x, y) => {
    const top = hitAt(element, x, y);
    return !top || !(element.contains(top) || top.contains(element));
  };
  // Where an element's middle lies in the page, and whether something lies over it there or over its frame.
  const middle = (element) => {
    const { x: left, y: top, frame, root } = placeOf(element);
    const view = root.defaultView || window;
    let box = element.getBoundingClientRect();
    if (box.bottom < 0 || box.top > view.innerHeight || box.right < 0 || box.left > view.innerWidth) {
      element.scrollIntoView({ block: 'center', inline: 'center' });
      box = element.getBoundingClientRect();
    }
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    let reachable = !covered(element, x, y);
    for (let f = frame; f && reachable; f = placeOf(f).frame) {
      const outer = placeOf(f);
      reachable = !covered(f, left + x - outer.x, top + y - outer.y);
    }
    return { x: left + x, y: top + y, reachable, hit: hitAt(element, x, y) };
  };
  // The elements that a step could act on now.
  const fitting = (step, element) => {
    const texts = step.target.text;
    return visible(element) && !element.disabled && element.getAttribute('aria-disabled') !== 'true'
      && (texts.length === 0 || (reads(element, texts) && !isWritten(element)));
  };
  const targets = (step) => find(step.target.selector).filter((element) => fitting(step, element));
  // What leaves the call by the pack's own word: nothing but leaving may press it.
  let leaving = null;
  const leaves = (node) => {
    if (leaving === null) leaving = spec.steps.filter((step) => step.phase === 'leaving').flatMap(targets);
    return leaving.some((control) => control.contains(node));
  };
  // The dialog around an element with all that it says: who answers a dialog answers these words.
  const dialogOf = (element) => element.closest('[role="dialog"], [role="alertdialog"], [aria-modal="true"], dialog, .zm-modal');
  const saying = (element) => {
    const dialog = dialogOf(element);
    return [element.getAttribute('role') || element.localName, folded(own(element)), label(element), dialog ? folded(textOf(dialog)) : ''].join('\u0000');
  };
  // What the last look found, for the press that follows it. Not by a name: an element's id is one, too.
  const memory = (globalThis[Symbol.for('recorder')] ||= { found: new Map(), pressed: new WeakMap(), guard: null, shut: 0 });

  return {
    plain, folded, problems, visible, places, foreign, find, isWritten, textOf, pageText, own, reads, holdsText,
    hitAt, middle, targets, leaves, dialogOf, saying, memory,
  };
})
