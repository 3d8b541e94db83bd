// Which of a pack's signals does this page show? Read-only: looks, never touches.
// Called with the pack's probe specification and what sight.js sees, returns a plain object (see probe.rs).
(function (spec, sight) {
  const { plain, folded, problems, visible, places, foreign, find, isWritten, textOf, pageText, own, reads, holdsText, middle, targets, leaves, saying, memory } = sight;

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
  memory.found.clear();
  const place = (step) => {
    if (step.unless && find(step.unless).some((element) => visible(element))) return null;
    const found = targets(step).filter((element) => step.phase === 'leaving' || !leaves(element));
    if (found.length === 0) return null;
    // Of dialogs that lie over each other, the uppermost one can be answered.
    const where = found.slice(0, 20).map((element) => ({ element, ...middle(element) }));
    const { element, x, y, reachable } = where.find((one) => one.reachable) || where[0];
    memory.found.set(step.name, { element, says: saying(element) });
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
