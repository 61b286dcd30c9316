import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** The best compression of what is larger would take many seconds. */
const LARGE = 200_000;

/** Puts a gzip and a Brotli form beside every file that is worth it: the server compresses nothing itself. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    writeBundle({ dir }, bundle) {
      for (const name of Object.keys(bundle).filter((name) => /\.(js|css|html|svg)$/.test(name))) {
        const path = join(dir ?? "dist", name);
        const content = readFileSync(path);
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
        const quality = content.length > LARGE ? 9 : 11;
        writeFileSync(`${path}.br`, brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: quality } }));
      }
    },
  };
}

/** The console and, by `--mode ide`, the GraphQL IDE: two builds, as they share nothing. */
export default defineConfig(({ mode }) => ({
  base: "/acme/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  plugins: [compressed()],
  worker: { format: "es" },
  build: {
    // Nothing becomes a data: URL: the Content-Security-Policy allows none.
    assetsInlineLimit: 0,
    target: "es2022",
    emptyOutDir: false,
    chunkSizeWarningLimit: 4000,
    reportCompressedSize: false,
    rollupOptions: {
      input: mode === "ide" ? "graphiql.html" : "index.html",
      // "use client" means something to other frameworks only.
      onwarn: (warning, warn) => warning.code === "MODULE_LEVEL_DIRECTIVE" || warn(warning),
    },
  },
}));
