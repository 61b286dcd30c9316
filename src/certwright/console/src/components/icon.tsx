/** Line drawings of 20 by 20, in the colour of the text. They only accompany words. */
const PATHS = {
  dashboard: "M3 3h6v8H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 13h6v4H3z",
  accounts: "M10 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 17c.8-3 3.5-4.5 7-4.5s6.2 1.5 7 4.5",
  orders: "M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5M7.5 10h5M7.5 13.5h5",
  certificates: "M10 2.5l6 2.3v4.7c0 3.8-2.5 6.5-6 8-3.5-1.5-6-4.2-6-8V4.8zM7.3 9.7l2 2 3.5-3.7",
  providers: "M3.5 4h13v5h-13zM3.5 11h13v5h-13zM6.5 6.5h.1M6.5 13.5h.1",
  audit: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 5.5V10l3 2",
  api: "M7 6l-4 4 4 4M13 6l4 4-4 4",
  leave: "M8 3H4v14h4M12 6l4 4-4 4M16 10H8",
  sun: "M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M16 4l-1.4 1.4M5.4 14.6L4 16",
  moon: "M16.5 11.8A7 7 0 0 1 8.2 3.5a7 7 0 1 0 8.3 8.3z",
  auto: "M3 4h14v9H3zM7 17h6M10 13v4",
  copy: "M7 7h9v9H7zM4 12.5V4h8.5",
  done: "M4 10.5l4 4 8-9",
  wait: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 6v4.2l2.8 1.8",
  cross: "M5 5l10 10M15 5L5 15",
  alert: "M10 3l8 14H2zM10 8v4M10 14.3v.4",
  dash: "M5 10h10",
  plus: "M10 4v12M4 10h12",
  arrow: "M4 10h12M11 5l5 5-5 5",
  download: "M10 3v10M6 9.5l4 4 4-4M4 17h12",
  external: "M8 4H4v12h12v-4M11 3.5h5.5V9M16.5 3.5L9 11",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
