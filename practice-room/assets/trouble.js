// A page that misbehaves, on demand: see Trouble in settings.rs. A client in a frame takes its whole page with it.
const kept = [];

const troubles = {
  // A request that is waited for and never answered: as dead as a loop, without taking a processor from whoever measures.
  hang: () => { const request = new XMLHttpRequest(); request.open('GET', '/unanswered', false); request.send(); },
  away: () => {
    const host = location.hostname === '127.0.0.1' ? 'localhost' : '127.0.0.1';
    window.top.location.href = `http://${host}:${location.port}/elsewhere`;
  },
  reload: () => window.top.location.reload(),
  dialogs: () => { alert('Something went wrong'); setTimeout(troubles.dialogs, 50); },
  ask_before_leaving: () => window.top.addEventListener('beforeunload', (event) => { event.preventDefault(); event.returnValue = 'stay'; }),
  // Numbers in plain arrays, so that the script engine itself runs out of memory: a failed buffer would only be an exception.
  memory: (mib) => {
    const timer = setInterval(() => {
      kept.push(new Array(2 << 20).fill(kept.length + 0.5));
      if (mib && kept.length * 16 >= mib) clearInterval(timer);
    }, 20);
  },
  blank: () => window.top.document.body.replaceChildren(),
};

export function makeTrouble(how, mib) { setTimeout(() => troubles[how](mib), 0); }
