// npm's bittorrent-tracker, for HTTP and UDP, until it is killed; tells every event:
// node npm_tracker.mjs MODULES HOST PORT
const [modules, host, port] = process.argv.slice(2)
const { default: Server } = await import(`${modules}/bittorrent-tracker/server.js`)

const six = host.includes(':')
const server = new Server({ http: true, udp: true, ws: false, stats: false, interval: 60_000 })
for (const event of ['start', 'complete', 'stop']) {
  server.on(event, (addr) => console.log(`${event} ${addr}`))
}
server.on('warning', (error) => console.log(`warning ${error.message}`))
server.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
server.on('listening', () => console.log('tracking'))
server.listen(Number(port), { http: host, udp: six ? '127.0.0.1' : host, udp6: six ? host : '::1' })
