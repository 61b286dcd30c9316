/** What stands there until the first answer; it shows only when that takes a while. */
export function Loading() {
  return (
    <div class="loading" aria-busy="true">
      <span class="unseen">Loading…</span>
    </div>
  );
}
