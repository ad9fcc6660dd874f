// What is asked again and again. There is one timer: each second, at most one request, that
// which is most overdue; none while the tab is hidden or an answer is awaited.

const jobs = new Set();
let asking = false;
let failures = 0;
let restUntil = 0;

// every runs an action each so many seconds until the function that it returns is called.
export function every(seconds, action) {
  const job = {seconds, action, due: performance.now() + seconds * 1000};
  jobs.add(job);
  return () => jobs.delete(job);
}

async function tick() {
  const now = performance.now();
  if (document.hidden || asking || now < restUntil) return;
  let next = null;
  for (const job of jobs) {
    if (job.due <= now + 100 && (!next || (now - job.due) / job.seconds >= (now - next.due) / next.seconds)) next = job;
  }
  if (!next) return;
  next.due = now + next.seconds * 1000;
  asking = true;
  try {
    await next.action();
    failures = 0;
  } catch {
    // The action has shown it. A broker that is away is asked less often, up to each 10 s.
    failures++;
    restUntil = performance.now() + Math.min(10, failures) * 1000;
  }
  asking = false;
}

// retryNow asks without waiting further.
export function retryNow() {
  restUntil = 0;
  failures = 0;
  for (const job of jobs) job.due = 0;
}

export function startPolling() {
  setInterval(tick, 1000);
}
