for (const tape of document.querySelectorAll('.tg-tape:not([data-ready])')) {
  tape.dataset.ready = '';
  const [controls, said, drawing] = ['controls', 'said', 'drawing'].map(name => tape.querySelector(`.tg-tape-${name}`));
  const [back, on] = controls.querySelectorAll('button'), slider = controls.querySelector('input');
  const boxes = [...tape.querySelectorAll('[data-box]')], arrows = [...tape.querySelectorAll('[data-from]')];
  const count = boxes.length;

  const show = () => {
    const at = Number(slider.value), forward = at <= count;
    const now = forward ? at - 1 : 2 * count - at;  // the tape is walked newest first
    const color = forward ? tape.dataset.forward : tape.dataset.backward;
    boxes.forEach((box, i) => {
      const [, value, gradient] = box.querySelectorAll('text'), edge = box.querySelector('rect').style;
      edge.stroke = i === now ? color : '';
      edge.strokeWidth = i === now ? 3 : '';
      edge.strokeOpacity = i === now ? 1 : '';
      box.style.opacity = forward && i > now ? 0.35 : '';
      value.style.visibility = forward && i > now ? 'hidden' : '';
      if (gradient) gradient.style.visibility = forward || i < now ? 'hidden' : '';
    });
    const number = boxes[now].dataset.box;
    for (const arrow of arrows) {
      const here = arrow.dataset.to === number;
      arrow.style.stroke = here ? color : '';
      arrow.style.strokeWidth = here ? 2.5 : '';
      arrow.style.strokeOpacity = here ? 1 : '';
    }
    said.textContent = `${at} of ${slider.max}, ${forward ? 'forward' : 'backward'}: `
      + boxes[now].dataset[forward ? 'forward' : 'backward'];
    const [box, frame] = [boxes[now], drawing].map(each => each.getBoundingClientRect());
    drawing.scrollTop += Math.min(0, box.top - frame.top) + Math.max(0, box.bottom - frame.bottom);
  };
  const move = by => { slider.value = Number(slider.value) + by; show(); };
  slider.oninput = show;
  back.onclick = () => move(-1);
  on.onclick = () => move(1);
  controls.hidden = said.hidden = false;
}
