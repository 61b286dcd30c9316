// Subscribes with graphql-ws as a frontend would, and prints what happens, one JSON object a line:
//   node subscribe.mjs URL TOKEN QUERY UNTIL
// It completes the subscription after the first result that holds the text UNTIL, and ends.
import { CloseCode, createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, query, until] = process.argv.slice(2);
const tell = (message) => console.log(JSON.stringify(message));

const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${token}` },
  retryAttempts: 50,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
  // A refused credential stays refused, and so does what the client itself holds to be wrong (an Error); whatever else
  // closes the socket may pass.
  shouldRetry: (event) => !(event instanceof Error) && event.code !== CloseCode.Forbidden,
  on: {
    connected: () => tell({ connected: true }),
    closed: (event) => tell({ closed: event.code }),
  },
});

try {
  for await (const result of client.iterate({ query })) {
    tell({ next: result });
    if (JSON.stringify(result).includes(until)) break;
  }
  tell({ completed: true });
} catch (error) {
  tell({ failed: error.code ?? (error instanceof Error ? error.message : error) });
}
await client.dispose();
