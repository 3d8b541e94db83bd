// Which of a pack's signals does this page show? Read-only: looks, never touches.
// Called with the pack's probe specification, returns a plain object (see probe.rs).
(function (spec) {
  const plain = (text) => (text || '').replace(/[\u2018\u2019]/g, "'").replace(/\s+/g, ' ').trim();
  const problems = [];
  const find = (selector) => {
    try { return Array.from(document.querySelectorAll(selector)); } catch (error) { problems.push(selector); return []; }
  };
  const visible = (element, least) => {
    const box = element.getBoundingClientRect();
    const [width, height] = least || [1, 1];
    if (box.width < width || box.height < height) return false;
    return element.checkVisibility ? element.checkVisibility({ visibilityProperty: true }) : true;
  };
  let whole = null;
  const pageText = () => (whole === null ? (whole = plain(document.body && document.body.innerText)) : whole);
  const label = (element) => plain(element.getAttribute('aria-label'));
  const reads = (element, texts) => texts.includes(plain(element.innerText)) || texts.includes(label(element));
  const shows = (predicate) => {
    if (predicate.visible) return find(predicate.visible).some((element) => visible(element, predicate.at_least));
    if (predicate.button) return find('button, [role="button"]').some((element) => reads(element, predicate.button) && visible(element));
    if (predicate.text) {
      const places = predicate.within ? find(predicate.within).filter((e) => visible(e)).map((e) => plain(e.innerText)) : [pageText()];
      return places.some((place) => predicate.text.some((text) => place.includes(text)));
    }
    if (predicate.host_differs !== undefined) return !spec.hosts.includes(location.host) === predicate.host_differs;
    return false;
  };
  const holds = (state) =>
    state.all.every(shows) && (state.any.length === 0 || state.any.some(shows)) && !state.none.some(shows);
  const number = (text) => { const match = /\d+/.exec(text || ''); return match ? Number(match[0]) : null; };
  const count = (source) => {
    const elements = find(source.selector).filter((element) =>
      !source.except_text.some((text) => label(element).includes(text) || plain(element.innerText).includes(text)));
    let total;
    if (source.number_in) {
      const said = elements.map((e) => number(source.number_in === 'text' ? plain(e.innerText) : e.getAttribute(source.number_in)));
      total = said.find((value) => value !== null);
      if (total === undefined) return null;
    } else {
      total = source.distinct ? new Set(elements.map((e) => e.getAttribute(source.distinct))).size : elements.length;
    }
    return total < source.own ? null : total - source.own;
  };
  const place = (step) => {
    const texts = step.target.text;
    const element = find(step.target.selector).find((e) => visible(e) && !e.disabled && (texts.length === 0 || reads(e, texts)));
    if (!element) return null;
    let box = element.getBoundingClientRect();
    if (box.bottom < 0 || box.top > innerHeight || box.right < 0 || box.left > innerWidth) {
      element.scrollIntoView({ block: 'center', inline: 'center' });
      box = element.getBoundingClientRect();
    }
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const top = document.elementFromPoint(x, y);
    const reachable = !!top && (element.contains(top) || top.contains(element));
    return { name: step.name, x, y, reachable, value: 'value' in element ? String(element.value) : null };
  };
  return {
    host: location.host,
    loaded: document.readyState === 'complete',
    host_differs: !spec.hosts.includes(location.host),
    meanings: spec.states.filter(holds).map((state) => state.means),
    counts: Object.fromEntries(spec.counts.map((source) => [source.name, count(source)])),
    steps: spec.steps.map(place).filter((found) => found !== null),
    problems,
  };
})
