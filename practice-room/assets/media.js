// WebRTC between the pages of a room: whoever has a stream offers it to each guest in the call. No ICE servers: loopback only.
export class Room {
  constructor(code, name, role, on, passcode = '') {
    this.on = on;
    this.peers = new Map();
    this.connections = new Map();
    const query = new URLSearchParams({ name, role, passcode });
    this.socket = new WebSocket(`ws://${location.host}/ws/${code}?${query}`);
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    this.socket.onclose = () => on.gone && on.gone();
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async hear(message) {
    if (message.type === 'welcome') this.id = message.id;
    if (message.type === 'state') this.on.state(message.state, message.settings);
    if (message.type === 'peers') this.meet(message.peers);
    if (message.type === 'signal') await this.signal(message.from, message.data);
    if (['chat', 'speaking', 'speak', 'mute', 'vanish', 'outage', 'pop_up', 'trouble', 'wrong_passcode'].includes(message.type)) {
      if (this.on[message.type]) this.on[message.type](message);
    }
  }

  // Who is in the call now: new ones are offered our stream, those gone are closed.
  meet(peers) {
    const there = new Map(peers.filter((peer) => peer.id !== this.id).map((peer) => [peer.id, peer]));
    for (const [id, connection] of this.connections) {
      if (!there.has(id)) { connection.close(); this.connections.delete(id); }
    }
    this.peers = there;
    this.on.peers([...there.values()]);
    if (this.stream) {
      for (const peer of there.values()) {
        if (peer.role === 'guest' && !this.connections.has(peer.id)) this.offer(peer.id);
      }
    }
  }

  connection(id) {
    const connection = new RTCPeerConnection({ iceServers: [] });
    const before = this.connections.get(id);
    if (before) before.close();
    this.connections.set(id, connection);
    connection.onicecandidate = (event) => {
      if (event.candidate) this.say({ type: 'signal', to: id, data: { candidate: event.candidate } });
    };
    connection.ontrack = (event) => {
      // Fixed buffers: left to itself each adapts at its own pace, and until the second RTCP report of each stream (12 s) nothing
      // brings them together. NetEq plays some 30 ms later than its target, which the picture's is larger by.
      event.receiver.jitterBufferTarget = event.track.kind === 'audio' ? 170 : 200;
      if (this.on.track) this.on.track(id, event.streams[0]);
    };
    return connection;
  }

  async offer(id) {
    const connection = this.connection(id);
    for (const track of this.stream.getTracks()) {
      const sender = connection.addTrack(track, this.stream);
      if (track.kind === 'video') {
        const settings = sender.getParameters();
        settings.degradationPreference = 'maintain-framerate';
        settings.encodings = [{ maxBitrate: 1_500_000, maxFramerate: 30 }];
        await sender.setParameters(settings).catch(() => {});
      }
    }
    await connection.setLocalDescription();
    this.say({ type: 'signal', to: id, data: { description: connection.localDescription } });
  }

  async signal(from, data) {
    if (data.description) {
      const offered = data.description.type === 'offer';
      const connection = offered ? this.connection(from) : this.connections.get(from);
      if (!connection) return;
      await connection.setRemoteDescription(data.description);
      if (offered) {
        await connection.setLocalDescription();
        this.say({ type: 'signal', to: from, data: { description: connection.localDescription } });
      }
    } else if (data.candidate) {
      const connection = this.connections.get(from);
      if (connection) await connection.addIceCandidate(data.candidate).catch(() => {});
    }
  }

  // Picture and sound stop; whoever sends offers anew once it sees us again.
  drop() {
    for (const connection of this.connections.values()) connection.close();
    this.connections.clear();
  }

  leave() { this.say({ type: 'leave' }); }
}
