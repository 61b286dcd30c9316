// Subscribes with graphql-ws as a frontend would, and prints what happens, one JSON object a line:
//   node subscribe.mjs URL TOKEN QUERY UNTIL [QUERY UNTIL]...
// It completes a subscription after the first result that holds the text UNTIL, and ends with the last of them.
import { connect, followAll } from './client.mjs';

const [url, token, ...pairs] = process.argv.slice(2);
const client = connect(url, token);

const follow = async (query, until, tell) => {
  try {
    for await (const result of client.iterate({ query })) {
      tell({ next: result });
      if (JSON.stringify(result).includes(until)) break;
    }
    tell({ completed: true });
  } catch (error) {
    tell({ failed: error.code ?? (error instanceof Error ? error.message : error) });
  }
};

await followAll(pairs, follow);
await client.dispose();
