// An application on npm @anycable/serverless-js, unmodified: its handlers behind a server for HTTP. It checks no token, and
// knows neither presence nor whispers; fields without a value it writes as `null` or `""`.

import { register } from 'node:module';
import { HttpApplication } from './http.js';

register('./serverless-hook.js', import.meta.url);
const { Application, Channel, commandHandler, connectHandler, disconnectHandler } = await import('@anycable/serverless-js');

class Cable extends Application {
  connect(connection) {
    const user = new URL(connection.env.url).searchParams.get('user');
    if (!user) return connection.reject();
    return connection.identifiedBy({ user });
  }
}

/** A room that counts what is said in it, in its state. */
class RoomChannel extends Channel {
  subscribed(channel, { id, closed }) {
    if (closed) return channel.reject();
    channel.state = { said: 0 };
    return channel.streamFrom(`room/${id}`).transmit({ hello: channel.identifiers.user });
  }

  say(channel, params, { text }) {
    channel.state.said += 1;
    channel.transmit({ said: channel.state.said, text });
  }

  follow(channel, params, { stream }) {
    channel.streamFrom(stream);
  }

  hush(channel) {
    channel.stopAllStreams();
  }
}

const cable = new Cable();
cable.registerChannel('RoomChannel', new RoomChannel());

/** By method: the package's handler, which wants the request as browsers have it. */
const METHODS = Object.fromEntries(
  Object.entries({ connect: connectHandler, command: commandHandler, disconnect: disconnectHandler }).map(
    ([name, handle]) => [
      name,
      (message, { sid }) => {
        const headers = { 'x-anycable-meta-sid': sid };
        const request = new Request(`http://127.0.0.1/${name}`, { method: 'POST', headers, body: JSON.stringify(message) });
        return handle(request, cable);
      },
    ],
  ),
);

export class ServerlessApplication extends HttpApplication {
  constructor() {
    super({ methods: METHODS, path: '/api', encode: (answer) => answer });
  }
}
