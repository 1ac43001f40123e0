# The gRPC server of Rails applications, Ruby's gem `grpc`, for an application that runs elsewhere: every call is a line of
# JSON on standard output, and its answer one on standard input. The argument is the server's options, as JSON.

require "base64"
require "grpc"
require "json"

$stdout.sync = true
options = JSON.parse(ARGV.fetch(0), symbolize_names: true)

# Messages stay bytes.
Bytes = Struct.new(:text) do
  def self.encode(bytes) = bytes.text
  def self.decode(text) = new(text)
end

# Where each call waits for its answer; its number is its id.
WAITING = []
LOCK = Mutex.new

def ask(method, bytes, call)
  answer = Queue.new
  LOCK.synchronize do
    message = Base64.strict_encode64(bytes.text)
    puts JSON.generate(id: WAITING.size, method:, metadata: call.metadata, message:)
    WAITING << answer
  end
  result = answer.pop
  raise GRPC::BadStatus.new_status_exception(result["code"], result["details"]) if result["code"]
  Bytes.new(Base64.strict_decode64(result["message"]))
end

class RPC
  include GRPC::GenericService

  self.service_name = "anycable.RPC"
  self.marshal_class_method = :encode
  self.unmarshal_class_method = :decode
  %w[Connect Command Disconnect].each do |name|
    rpc name.to_sym, Bytes, Bytes
    define_method(name.downcase) { |bytes, call| ask(name.downcase, bytes, call) }
  end
end

server = GRPC::RpcServer.new(**options)
port = server.add_http2_port("127.0.0.1:#{ENV.fetch("PORT", 0)}", :this_port_is_insecure)
server.handle(RPC)
Thread.new { server.run }
server.wait_till_running
puts JSON.generate(port:)

# Ends with whoever asked for it.
while (line = $stdin.gets)
  answer = JSON.parse(line)
  LOCK.synchronize { WAITING[answer["id"]] }.push(answer)
end
exit!
