// One press or some keys of the bot, which reach the element that they were decided for, or nothing at all.
// The page may change while the mouse is on its way: so whatever real input arrives is judged as it arrives, before the page hears of
// it, and is stopped where it would land on anything else. Not guarded: frames of other origins, and a page that is opened in between.
// Called with the pack's probe specification, a function that sees the page as it is then (sight.js), and what is asked.
(function (spec, look, ask) {
  const sight = look();
  const { memory } = sight;
  // A dialog that was answered takes a moment to go: what is still there of it is not answered again.
  const SETTLES_MS = 700;
  // Input that is late, and a press whose end never came.
  const SHUT_MS = 1000, ARMED_MS = 10000;
  const now = () => performance.now();

  memory.judge ||= (event) => {
    if (!event.isTrusted) return;
    const guard = memory.guard && now() < memory.guard.until ? memory.guard : null;
    if (guard ? guard.lets(event) : now() > memory.shut) return;
    event.stopImmediatePropagation();
    // Stopped here, it would still focus, follow a link, send a form.
    if (event.type !== 'pointerdown' && event.type !== 'pointerup') event.preventDefault();
  };
  const watch = () => {
    const kinds = ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click', 'keydown', 'keypress', 'beforeinput'];
    for (const { root } of sight.places) {
      for (const kind of kinds) if (root.defaultView) root.defaultView.addEventListener(kind, memory.judge, true);
    }
  };

  // What lets an element's own input through, and nothing after the first that is another's.
  const guardOf = (step, { element, says }, standIn) => {
    const guard = { step, element, field: null, heard: false, stopped: false, until: now() + ARMED_MS };
    const mayPress = (node, seen = look()) => step.phase === 'leaving' || !seen.leaves(node);
    // What an event meets among an element's own kind: what is drawn in an element's shadow is the element.
    const met = (event, element) => event.composedPath().find((node) => node.nodeType === 1 && node.getRootNode() === element.getRootNode()) || null;
    const fits = (event) => {
      if (['keydown', 'keypress', 'beforeinput'].includes(event.type)) return guard.field !== null && guard.field.contains(met(event, guard.field));
      const node = met(event, element);
      // Enter in a form presses its button, a label its field: no press of the mouse's own.
      if (event.type === 'click' && event.detail === 0) return mayPress(node || event.composedPath()[0]);
      if (!node) return false;
      if (!element.contains(node) && node !== standIn && node !== element.control) return false;
      if (event.type === 'pointerdown') {
        const seen = look(), hit = seen.hitAt(element, event.clientX, event.clientY);
        return (element.contains(hit) || hit === standIn) && seen.saying(element) === says && mayPress(node, seen);
      }
      return event.type !== 'click' || mayPress(node);
    };
    guard.lets = (event) => {
      if (!guard.stopped && fits(event)) {
        guard.heard = true;
        return true;
      }
      guard.stopped = true;
      return false;
    };
    return guard;
  };

  const why = (step, known) => {
    if (!known || !sight.targets(step).includes(known.element)) return 'gone';
    if (step.unless && sight.find(step.unless).some((element) => sight.visible(element))) return 'gone';
    if (sight.saying(known.element) !== known.says) return 'changed';
    const at = [known.element, sight.dialogOf(known.element)].map((one) => (one && memory.pressed.get(one)) || -Infinity);
    return now() - Math.max(...at) < SETTLES_MS ? 'settling' : null;
  };
  // Where to press now, from then on guarded.
  const aim = (name) => {
    const step = spec.steps.find((one) => one.name === name), known = memory.found.get(name);
    memory.guard = null;
    const missed = why(step, known);
    if (missed) return { missed };
    const { x, y, reachable, hit } = sight.middle(known.element);
    if (!reachable) return { missed: 'covered' };
    if (step.phase !== 'leaving' && (sight.leaves(known.element) || sight.leaves(hit))) return { missed: 'leaves' };
    watch();
    memory.guard = guardOf(step, known, hit);
    return { x, y };
  };

  // Whether keys would go into the field that was pressed, or into what the page has put in its place.
  const focus = () => {
    const { guard } = memory;
    if (!guard || guard.stopped) return { missed: 'elsewhere' };
    let active = document.activeElement;
    const inner = (frame) => { try { return frame.contentDocument; } catch (error) { return null; } };
    while (active && inner(active)) active = inner(active).activeElement;
    const { element, step } = guard;
    const is = active && (element.contains(active) || sight.targets(step).includes(active) || (active.isContentEditable && active.contains(element)));
    guard.field = is ? active : null;
    return is ? {} : { missed: 'unfocused' };
  };

  // After it: what is there needs a new look before anything is pressed again.
  const release = () => {
    const { guard } = memory;
    memory.guard = null;
    memory.found.clear();
    // Another page by now: it went where it should.
    if (!guard) return {};
    memory.shut = now() + SHUT_MS;
    if (guard.heard && !guard.step.fill) {
      for (const one of [guard.element, sight.dialogOf(guard.element)]) if (one) memory.pressed.set(one, now());
    }
    return guard.stopped && !guard.heard ? { missed: 'elsewhere' } : {};
  };

  return { aim, focus, release }[ask.what](ask.step);
})
