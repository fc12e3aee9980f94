const all = (what, place) => [...element.querySelectorAll(what)].filter((n) => n.dataset.place === place);
const show = (place) => {
  for (const n of element.querySelectorAll('.on')) n.classList.remove('on');
  for (const n of all('[data-place]', place)) n.classList.add('on');
  const frame = element.querySelector('.frame'), [box] = all('polygon', place);
  if (!box) return;
  const f = frame.getBoundingClientRect(), b = box.getBoundingClientRect();
  if (b.top < f.top || b.bottom > f.bottom || b.left < f.left || b.right > f.right)
    frame.scrollBy({ top: b.top - f.top - f.height / 3, left: b.left - f.left - f.width / 4 });
};
element.addEventListener('focusin', (e) => {
  const row = e.target.closest('tr[data-place]');
  if (row) show(row.dataset.place);
});
element.addEventListener('click', (e) => {
  const box = e.target.closest('polygon');
  if (box) all('tr', box.dataset.place)[0]?.querySelector('input').focus();
});
element.addEventListener('change', async (e) => {
  const row = e.target.closest('tr[data-place]'), say = element.querySelector('output');
  if (!row) return;
  say.textContent = '';
  const sheet = element.querySelector('.sheet'), told = [sheet.dataset.name, row.dataset.place, e.target.value];
  let answer;
  try { answer = await server.edit(told); }
  catch { answer = { error: 'the server does not answer, so this is not kept; try again' }; }
  if (element.querySelector('.sheet') !== sheet) return; // another page is shown by now
  if (answer.error) { say.textContent = answer.error; return; }
  for (const v of answer.values) {
    for (const n of all('[data-place]', v.place))
      n.setAttribute('class', n.classList.contains('on') ? v.tone + ' on' : v.tone);
    for (const cell of all('tr', v.place)[0].querySelectorAll('[data-is]')) cell.textContent = v[cell.dataset.is];
  }
  say.textContent = answer.said;
});
