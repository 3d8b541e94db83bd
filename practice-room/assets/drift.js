// How a client drifts away from what is known of it: see Drift in settings.rs.

// What a new release might call things. Longer texts come first, since parts of texts are replaced.
const renamed = [
  ["You'll join the call when someone lets you in", 'Your request was passed on'], ['Asking to be let in', 'Knocking'],
  ['Ask to join', 'Request entry'], ['Join now', 'Enter'], ['Your name', 'How shall we call you'],
  ['Continue without microphone and camera', 'Just listen'], ['Continue without audio or video', 'Just listen'],
  ['Leave call', 'Hang up'], ['Turn on captions', 'Subtitles'], ['Present now', 'Show'], ['Call controls', 'Actions'],
  ['Chat with everyone', 'Messages'], ['People', 'Attendees'],
  ['Continue on this browser', 'Stay here'], ['Join meeting from this browser', 'Stay here'],
  ['Someone will let you in shortly', 'Your request was passed on'], ['Join from your browser', 'No thanks, stay here'],
  ['Please wait, the meeting host will let you in soon.', 'Your request was passed on'], ['Your Name', 'How shall we call you'],
  ['Participants', 'Attendees'], ['prejoin-display-name-input', 'name-field'], ['prejoin-join-button', 'enter-button'],
  ['hangup-main-btn', 'end-call'], ['hangup-button', 'end-call'], ['preview-join-button', 'enter-button'], ['input-for-name', 'name-field'],
];

const german = [
  ["You'll join the call when someone lets you in", 'Sie nehmen am Anruf teil, sobald Sie jemand hereinlässt'],
  ['Asking to be let in', 'Um Teilnahme wird gebeten'], ['Ask to join', 'Teilnahme erbitten'], ['Join now', 'Jetzt teilnehmen'],
  ['Your name', 'Ihr Name'], ["What's your name?", 'Wie heißen Sie?'], ['Leave call', 'Anruf verlassen'],
  ['Continue without microphone and camera', 'Ohne Mikrofon und Kamera fortfahren'], ['Turn on captions', 'Untertitel aktivieren'],
  ['Turn off microphone', 'Mikrofon deaktivieren'], ['Turn on microphone', 'Mikrofon aktivieren'],
  ['Turn off camera', 'Kamera deaktivieren'], ['Turn on camera', 'Kamera aktivieren'], ['Present now', 'Jetzt präsentieren'],
  ['Call controls', 'Anrufsteuerung'], ['Chat with everyone', 'Mit allen chatten'], ['People', 'Personen'],
  ['Continue on this browser', 'In diesem Browser fortfahren'], ['Join meeting from this browser', 'Über diesen Browser teilnehmen'],
  ['Continue without audio or video', 'Ohne Audio oder Video fortfahren'],
  ['Someone will let you in shortly', 'Jemand wird Sie in Kürze hereinlassen'], ['Type your name', 'Namen eingeben'],
  ['Join from your browser', 'Mit Ihrem Browser teilnehmen'], ['Launch Meeting', 'Meeting starten'], ['Accept Cookies', 'Cookies akzeptieren'],
  ['Your Name', 'Ihr Name'], ['Please wait, the meeting host will let you in soon.', 'Der Host wird Sie bald hereinlassen.'],
  ['Participants', 'Teilnehmer'], ['Your host ended the meeting for everyone', 'Der Organisator hat die Besprechung für alle beendet'],
  ['The meeting has ended', 'Die Besprechung wurde beendet'], ['This meeting has been ended by host', 'Dieses Meeting wurde vom Host beendet'],
  ['Leave', 'Verlassen'], ['Join', 'Beitreten'],
];

const attributes = ['aria-label', 'placeholder', 'title', 'data-tid', 'id', 'class'];

function replaced(text, words) {
  const plain = text.replace(/’/g, "'");
  return words.reduce((now, [from, to]) => (now.includes(from) ? now.split(from).join(to) : now), plain);
}

function rewrite(root, words, names) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const hidden = ['SCRIPT', 'STYLE'].includes(node.parentNode && node.parentNode.tagName);
    const now = replaced(node.data, words);
    if (!hidden && node.data.trim() && now !== node.data.replace(/’/g, "'")) node.data = now;
  }
  for (const element of root.querySelectorAll('*')) {
    for (const name of names) {
      const value = element.getAttribute(name);
      if (value && replaced(value, words) !== value) element.setAttribute(name, replaced(value, words));
    }
  }
}

function keepRewriting(words, names) {
  const watched = { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: names };
  const observer = new MutationObserver(() => work());
  const work = () => {
    rewrite(document.body, words, names);
    observer.takeRecords();
  };
  work();
  observer.observe(document.body, watched);
}

// A dialog that nobody expects; it can be closed.
export function popUp() {
  if (document.querySelector('.unexpected')) return;
  const cover = document.createElement('div');
  cover.className = 'cover unexpected';
  cover.innerHTML = '<div class="dialog" role="dialog" aria-modal="true"><h1>Tell us what you think</h1><p>How was the quality of your last meetings?</p><button aria-label="Close">✕</button></div>';
  cover.querySelector('button').onclick = () => cover.remove();
  document.body.append(cover);
}

let chosen = [];

export function drift(list) {
  chosen = list || [];
  if (chosen.includes('renamed_labels')) keepRewriting(renamed, attributes);
  if (chosen.includes('other_language')) { document.documentElement.lang = 'de'; keepRewriting(german, attributes.slice(0, 3)); }
  if (chosen.includes('moved_buttons')) document.body.classList.add('moved');
  if (chosen.includes('pop_ups')) setTimeout(popUp, 700);
}

drift.inCall = () => {
  if (chosen.includes('pop_ups')) { setTimeout(popUp, 1000); setTimeout(popUp, 6000); }
  if (chosen.includes('flicker')) setInterval(() => { document.body.classList.toggle('flickers'); }, 900);
};
