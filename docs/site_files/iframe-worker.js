// Browsers start no worker from the address of a file: there the search runs in a hidden frame.
if (location.protocol === 'file:') {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement('iframe');
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      const load = address => new Promise((loaded, failed) => {
        const script = inside.document.createElement('script');
        Object.assign(script, {src: address, onload: loaded, onerror: failed});
        inside.document.body.append(script);
      });
      inside.postMessage = data => {
        const event = new MessageEvent('message', {data});
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.importScripts = (...addresses) => addresses.reduce(
        (before, address) => before.then(() => load(address)), Promise.resolve());
      this.ready = load(url);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(
        new MessageEvent('message', {data})));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
