// Which of a pack's signals does this page show? Read-only: looks, never touches.
// Called with the pack's probe specification, returns a plain object (see probe.rs).
// Frames of the page's own origin are looked into as if they were part of the page; frames of other origins cannot be.
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

  // --- states ------------------------------------------------------------------------------------------------------------
  const differs = !spec.hosts.some((host) => (host.startsWith('.') ? location.hostname.endsWith(host) : location.host === host));
  const shows = (predicate) => {
    if (predicate.visible) return find(predicate.visible).some((element) => visible(element, predicate.at_least));
    if (predicate.button) return find('button, [role="button"]').some((element) => visible(element) && !isWritten(element) && reads(element, predicate.button));
    if (predicate.title) return predicate.title.some((text) => folded(text) === folded(document.title));
    if (predicate.text) {
      const within = () => find(predicate.within).filter((element) => visible(element) && !isWritten(element)).map((element) => folded(textOf(element)));
      const places = predicate.within ? within() : [pageText()];
      return places.some((place) => predicate.text.some((text) => place.includes(folded(text))));
    }
    if (predicate.host_differs !== undefined) return differs === predicate.host_differs;
    return false;
  };
  const holds = (state) =>
    state.all.every(shows) && (state.any.length === 0 || state.any.some(shows)) && !state.none.some(shows);

  // --- counts ------------------------------------------------------------------------------------------------------------
  const number = (text) => { const match = /\d+/.exec(text || ''); return match ? Number(match[0]) : null; };
  const count = (source) => {
    const elements = find(source.selector).filter((element) => !holdsText(element, source.except_text));
    let total;
    if (source.number_in) {
      const said = elements.map((e) => number(source.number_in === 'text' ? plain(own(e)) : e.getAttribute(source.number_in)));
      total = said.find((value) => value !== null);
      if (total === undefined) return null;
    } else {
      total = source.distinct ? new Set(elements.map((e) => e.getAttribute(source.distinct))).size : elements.length;
    }
    return total < source.own ? null : total - source.own;
  };

  // --- people, speakers, chat ----------------------------------------------------------------------------------------------
  const inside = (element, selector) => {
    try { return selector ? element.querySelector(selector) : element; } catch (error) { problems.push(selector); return null; }
  };
  const read = (element, sources, length) => {
    for (const source of sources) {
      const place = inside(element, source.selector);
      const text = place && plain(source.attribute ? place.getAttribute(source.attribute) : own(place));
      if (text) return text.slice(0, length);
    }
    return '';
  };
  const nameOf = (row) => {
    let name = read(row, spec.roster.name, 200);
    for (const cut of spec.roster.cut.concat(spec.roster.own_text)) name = plain(name.split(plain(cut)).join(' '));
    return name;
  };
  const fits = (element, selector) => { try { return !!selector && (element.matches(selector) || !!element.querySelector(selector)); } catch (error) { problems.push(selector); return false; } };
  const keyOf = (row) => read(row, spec.roster.key, 200) || nameOf(row);
  const roster = () => {
    if (!spec.roster) return null;
    const people = new Map();
    for (const row of find(spec.roster.rows).slice(0, 1000)) {
      if (!visible(row) || holdsText(row, spec.roster.except_text)) continue;
      const key = keyOf(row), name = nameOf(row);
      if (!key) continue;
      const is_self = fits(row, spec.roster.own) || holdsText(row, spec.roster.own_text);
      const before = people.get(key) || { key, name: '', is_self: false };
      people.set(key, { key, name: before.name || name, is_self: before.is_self || is_self });
    }
    return people.size ? Array.from(people.values()) : null;
  };
  const people = roster();
  const speaker = (mark) => {
    const row = spec.roster && mark.closest(spec.roster.rows);
    const key = row && !holdsText(row, spec.roster.except_text) && keyOf(row);
    if (key) return key;
    const name = read(mark, spec.speaking.name, 200);
    const same = name && (people || []).find((person) => person.name === name);
    return same ? same.key : people ? '' : name;
  };
  const speaking = () => (spec.speaking ? find(spec.speaking.marks).filter((mark) => visible(mark)).map(speaker).filter((key) => key) : []);
  const chat = () => {
    if (!spec.chat) return [];
    const times = new Map();
    let last = '';
    return find(spec.chat.messages).slice(-500).flatMap((message) => {
      const author = last = read(message, spec.chat.author, 200) || last;
      const text = read(message, spec.chat.text, 4000);
      if (!text) return [];
      const same = `${author}\u001f${text}`;
      times.set(same, (times.get(same) || 0) + 1);
      return [{ key: read(message, spec.chat.key, 200) || `${same}\u001f${times.get(same)}`, author, text }];
    });
  };

  // --- steps ---------------------------------------------------------------------------------------------------------------
  const covered = (element, x, y) => {
    const top = element.ownerDocument.elementFromPoint(x, y);
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
    return { x: left + x, y: top + y, reachable };
  };
  const place = (step) => {
    if (step.unless && find(step.unless).some((element) => visible(element))) return null;
    const texts = step.target.text;
    const targets = find(step.target.selector).filter((e) =>
      visible(e) && !e.disabled && e.getAttribute('aria-disabled') !== 'true' && (texts.length === 0 || (reads(e, texts) && !isWritten(e))));
    if (targets.length === 0) return null;
    // Of dialogs that lie over each other, the uppermost one can be answered.
    const places = targets.slice(0, 20).map((element) => ({ element, ...middle(element) }));
    const { element, x, y, reachable } = places.find((found) => found.reachable) || places[0];
    // A passcode never leaves the page: its length is enough to see that the field is filled.
    const value = !('value' in element) ? null : step.fill === 'passcode' ? '*'.repeat(Math.min(element.value.length, 300)) : String(element.value);
    return { name: step.name, x, y, reachable, value };
  };

  const styled = () => places.every(({ root }) => Array.from(root.querySelectorAll('link[rel~="stylesheet"][href]:not([disabled])')).every((link) => link.sheet));
  return {
    host: location.host,
    loaded: places.every(({ root }) => root.readyState === 'complete') && styled(),
    host_differs: differs,
    meanings: spec.states.filter(holds).map((state) => state.means),
    counts: Object.fromEntries(spec.counts.map((source) => [source.name, count(source)])),
    people,
    speaking: speaking(),
    chat: chat(),
    steps: spec.steps.map(place).filter((found) => found !== null),
    is_blank: places.every(({ root }) => !plain(root.body && root.body.innerText)) && !find('img, svg, video, canvas, input, textarea, button').some((element) => visible(element)),
    foreign_frames: foreign,
    problems,
  };
})
