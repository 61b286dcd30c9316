// What the clients here have in common: a graphql-ws client as a frontend makes it, and what they print.
import { CloseCode, createClient } from 'graphql-ws';
import WebSocket from 'ws';

globalThis.WebSocket ??= WebSocket; // Apollo's link looks at it, as every browser has it.

export const tell = (message) => console.log(JSON.stringify(message));

export const connect = (url, token) =>
  createClient({
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

// Calls `follow(query, until, tell)` for each pair of QUERY and UNTIL, and waits for all of them. What happens to the
// second and later ones is told under `also`.
export const followAll = (pairs, follow) => {
  const followed = [];
  for (let at = 0; at < pairs.length; at += 2) {
    followed.push(follow(pairs[at], pairs[at + 1], at ? (message) => tell({ also: message }) : tell));
  }
  return Promise.all(followed);
};
