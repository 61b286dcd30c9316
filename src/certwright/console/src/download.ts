/** Files made here, saved by the browser. */

export function save(name: string, content: BlobPart, type = "application/octet-stream"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  // Some browsers read it only after the click was handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function savePem(name: string, pem: string): void {
  save(name, pem, "application/x-pem-file");
}

/** What a file of a domain may be called: "*.a.example" → "_.a.example". */
export function fileName(domain: string): string {
  return domain.replaceAll(/[^A-Za-z0-9.-]/g, "_");
}
