
"use strict";
(() => {
  const figures = [...document.querySelectorAll("figure.sound")];
  const audioOf = figure => figure.querySelector("audio");

  // One sound plays at a time.
  document.addEventListener("play", event => {
    for (const other of document.querySelectorAll("audio")) {
      if (other !== event.target) other.pause();
    }
  }, true);

  for (const figure of figures) {
    const audio = audioOf(figure), cursor = figure.querySelector(".cursor"), picture = figure.querySelector(".picture");
    const draw = () => {
      if (!(audio.duration > 0)) return;
      cursor.hidden = audio.currentTime === 0 && audio.paused;
      cursor.style.left = `${100 * audio.currentTime / audio.duration}%`;
    };
    const follow = () => {
      draw();
      if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("play", follow);
    for (const name of ["timeupdate", "seeked", "pause", "ended"]) audio.addEventListener(name, draw);
    picture.addEventListener("click", event => {
      const box = picture.getBoundingClientRect();
      if (!(audio.duration > 0)) return;
      audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
      audio.play().catch(() => {});  // a pause before it has begun is no error
    });
  }

  // The blind test: each song beside the music that really follows, in an order that chance decides.
  const shuffled = list => {
    const found = [...list];
    for (let i = found.length - 1; i > 0; i--) {
      const k = Math.floor(Math.random() * (i + 1));
      [found[i], found[k]] = [found[k], found[i]];
    }
    return found;
  };
  const realOf = take => figures.find(figure => figure.dataset.kind === "real"
    && figure.dataset.group === take.dataset.group && figure.dataset.rate === take.dataset.rate);
  const takes = figures.filter(figure => figure.dataset.kind === "take");
  const players = [document.getElementById("a"), document.getElementById("b")];
  const buttons = [...document.querySelectorAll("[data-guess]")];
  const verdict = document.getElementById("verdict"), score = document.getElementById("score");
  const next = document.getElementById("next");
  let waiting = [], pair = [], right = 0, judged = 0;

  // Of `n` guesses at random at least `k` are right with this chance.
  const chance = (k, n) => {
    let ways = 1, found = 0;
    for (let i = 0; i <= n; i++) {
      if (i >= k) found += ways;
      ways = ways * (n - i) / (i + 1);
    }
    return found / 2 ** n;
  };
  const begin = () => {
    if (!waiting.length) waiting = shuffled(takes);
    const take = waiting.pop();
    pair = shuffled([take, realOf(take)]);
    players.forEach((player, i) => { player.src = audioOf(pair[i]).src; });
    buttons.forEach(button => { button.disabled = false; });
    next.hidden = true;
    verdict.textContent = "";
  };
  const judge = guess => {
    const real = pair.findIndex(figure => figure.dataset.kind === "real");
    const take = pair[1 - real];
    judged += 1;
    if (guess === real) right += 1;
    verdict.textContent = `${guess === real ? "Right" : "Wrong"}: ${"AB"[real]} is real, ${"AB"[1 - real]} is the song `
      + `of seed ${take.dataset.group} (${take.dataset.title}).`;
    const percent = Math.round(100 * chance(right, judged));
    score.textContent = `${right} of ${judged} right; chance alone gets so many or more in ${percent} of 100 tests.`;
    buttons.forEach(button => { button.disabled = true; });
    next.hidden = false;
    next.focus();
  };
  for (const button of buttons) button.addEventListener("click", () => judge(Number(button.dataset.guess)));
  next.addEventListener("click", () => {
    begin();
    players[0].focus();
  });
  begin();
})();
