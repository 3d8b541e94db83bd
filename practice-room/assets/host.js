// The room by hand: who waits, who is in the call, and what the host can do about it.
const code = location.pathname.split('/')[2];
const api = `/control/rooms/${code}`;
const $ = (selector) => document.querySelector(selector);
$('#code').textContent = code;
for (const platform of ['meet', 'teams', 'zoom']) $(`#${platform}`).href = `/${platform}/${code}`;
$('#clock').href = `/meet/${code}/participant?name=Clara&role=clock`;
$('#person').href = `/meet/${code}/participant?name=Samir&role=person`;
const post = (path) => fetch(`${api}/${path}`, { method: 'POST' }).then(refresh);
$('#admit-all').onclick = () => post('admit-all');
$('#end').onclick = () => post('end');
$('#do').onclick = async () => {
  const answer = await fetch(`${api}/actions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: $('#action').value });
  $('#answer').textContent = answer.ok ? 'done' : await answer.text();
};

const actions = { waiting: ['admit', 'deny', 'time-out'], in_call: ['remove'] };

function row(one) {
  const line = document.createElement('tr');
  for (const text of [one.name, one.role, one.state.replace('_', ' ')]) line.insertCell().textContent = text;
  const cell = line.insertCell();
  for (const action of actions[one.state] || []) {
    const button = document.createElement('button');
    button.textContent = action;
    button.onclick = () => post(`participants/${one.id}/${action}`);
    cell.append(button, ' ');
  }
  return line;
}

async function refresh() {
  const room = await (await fetch(api)).json();
  $('tbody').replaceChildren(...room.participants.map(row));
}

refresh();
setInterval(refresh, 1000);
