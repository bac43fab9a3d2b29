// A foreign peer of the instrument protocol, made with Boost alone: server or worker, creating or opening the queues.
//
//   boost_peer echo-worker NAME create|open [native]             answer every COMMAND until SHUTDOWN
//   boost_peer server NAME create|open COUNT VERB PARAMS [native]  send COUNT commands, print each response, then SHUTDOWN
//   boost_peer limit-echo NAME create|open [native]              send everything back; ends with a message of type SHUTDOWN
//   boost_peer limit NAME create|open COUNT [native]             print the time of each of COUNT round trips, in us
//   boost_peer send NAME_OF_QUEUE PRIORITY...                    send one message for each priority; its id is its place
//   boost_peer receive NAME_OF_QUEUE COUNT                       print "id priority size payload" of each
//   boost_peer make NAME_OF_QUEUE DEPTH SIZE                     create one queue and leave it
//
// The worker's verbs: ECHO and anything else (return_value is params), SLEEP (params.s), CRASH, FAIL, FATAL, SILENT.
#include <boost/date_time/posix_time/posix_time_types.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>

#include <atomic>
#include <csignal>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace ipc = boost::interprocess;
using queue = ipc::message_queue;

enum Type : std::uint32_t { COMMAND = 1, RESPONSE = 2, SHUTDOWN = 3, HEARTBEAT = 4, ERROR = 5 };

// The spec's struct, both ways in which its size can be read: 8208 bytes, and as this compiler lays it out.
#pragma pack(push, 1)
struct Packed {
  std::uint32_t type;
  std::uint64_t id;
  std::uint32_t payload_size;
  char payload[8192];
};
#pragma pack(pop)
struct Native {
  std::uint32_t type;
  std::uint64_t id;
  std::uint32_t payload_size;
  char payload[8192];
};
static_assert(sizeof(Packed) == 8208 && sizeof(Native) == 8216, "as the spec says, and as a compiler does");

static boost::posix_time::ptime in_ms(long ms) {
  return boost::posix_time::microsec_clock::universal_time() + boost::posix_time::milliseconds(ms);
}

static std::unique_ptr<queue> get(const std::string &name, bool create, std::size_t size) {
  if (create) {
    queue::remove(name.c_str());
    return std::make_unique<queue>(ipc::create_only, name.c_str(), 100, size);
  }
  for (;;) {
    try {
      return std::make_unique<queue>(ipc::open_only, name.c_str());
    } catch (const ipc::interprocess_exception &) {  // not created yet
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

// The text of a key's value, found without a parser: enough for what a peer of a test is sent.
static std::string value_of(const std::string &json, const std::string &key) {
  auto at = json.find("\"" + key + "\":");
  if (at == std::string::npos) return "";
  at = json.find_first_not_of(' ', at + key.size() + 3);
  int depth = 0;
  bool quoted = false;
  for (auto end = at; end < json.size(); end++) {
    char c = json[end];
    if (quoted) {
      if (c == '\\') end++;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if ((c == '}' || c == ']' || c == ',') && depth == 0) {
      return json.substr(at, end - at);
    } else if (c == '}' || c == ']') {
      depth--;
    }
  }
  return json.substr(at);
}

template <class Message>
struct Pair {
  std::string name;
  std::unique_ptr<queue> requests, responses;
  bool created;

  Pair(const std::string &instrument, const std::string &how)
      : name(instrument), created(how == "create") {
    requests = get("instrument_" + name + "_req", created, sizeof(Message));
    responses = get("instrument_" + name + "_resp", created, sizeof(Message));
  }

  ~Pair() {
    if (!created) return;
    queue::remove(("instrument_" + name + "_req").c_str());
    queue::remove(("instrument_" + name + "_resp").c_str());
  }
};

template <class Message>
static bool send(queue &to, std::uint32_t type, std::uint64_t id = 0, const std::string &payload = "", unsigned priority = 0) {
  Message message{};
  message.type = type;
  message.id = id;
  message.payload_size = static_cast<std::uint32_t>(payload.size());
  std::memcpy(message.payload, payload.data(), payload.size());
  return to.timed_send(&message, sizeof message, priority, in_ms(1000));
}

template <class Message>
static bool receive(queue &from, Message &message, long ms, unsigned *priority = nullptr) {
  queue::size_type size = 0;
  unsigned ignored;
  if (!from.timed_receive(&message, sizeof message, size, priority ? *priority : ignored, in_ms(ms))) return false;
  if (size == sizeof message) return true;
  std::cerr << "a message of " << size << " bytes: dropped, as the real server does\n";
  return receive(from, message, ms, priority);
}

template <class Message>
static void answer(queue &responses, const Message &request, const std::string &name) {
  std::string json(request.payload, request.payload_size), verb = value_of(json, "verb");
  if (verb.empty()) {  // the spec's snippet, letter by letter: no id, no payload size
    Message error{};
    error.type = ERROR;
    std::snprintf(error.payload, sizeof error.payload, "{\"error_message\": \"Invalid JSON in command\"}");
    responses.timed_send(&error, sizeof error, 0, in_ms(1000));
    return;
  }
  if (verb == "\"CRASH\"") std::raise(SIGSEGV);
  if (verb == "\"SILENT\"") return;
  if (verb == "\"SLEEP\"")
    std::this_thread::sleep_for(std::chrono::duration<double>(std::stod(value_of(value_of(json, "params"), "s"))));
  if (verb == "\"FATAL\"") {
    send<Message>(responses, ERROR, 0, R"({"error_code":-1,"error_message":"Plugin crashed: segmentation fault","fatal":true})");
    std::_Exit(1);
  }
  bool fails = verb == "\"FAIL\"";
  send<Message>(responses, RESPONSE, request.id,
                "{\"command_id\":" + value_of(json, "id") + ",\"instrument_name\":\"" + name +
                    "\",\"success\":" + (fails ? "false" : "true") + ",\"error_code\":" + (fails ? "7" : "0") +
                    ",\"error_message\":\"" + (fails ? "failed as asked" : "") + "\",\"text_response\":\"from C++\"" +
                    ",\"return_value\":" + (fails ? "null" : value_of(json, "params")) + "}");
}

template <class Message>
static int work(const std::string &name, const std::string &how) {
  Pair<Message> pair(name, how);
  std::atomic<bool> ends{false};
  std::thread heart([&] {
    for (int tick = 0; !ends; tick++) {
      if (tick % 100 == 0) send<Message>(*pair.responses, HEARTBEAT);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  Message message;
  for (;;) {
    if (!receive(*pair.requests, message, 1000)) continue;
    if (message.type == SHUTDOWN) break;
    if (message.type == COMMAND) answer(*pair.responses, message, name);
  }
  ends = true;
  heart.join();
  return 0;
}

template <class Message>
static int serve(const std::string &name, const std::string &how, int count, const std::string &verb, const std::string &params) {
  Pair<Message> pair(name, how);
  Message message;
  do {
    if (!receive(*pair.responses, message, 20000)) return 2;
  } while (message.type != HEARTBEAT);
  for (int id = 1; id <= count; id++) {
    std::string number = std::to_string(id);
    std::string json = "{\"id\":\"" + name + "-" + number + "\",\"instrument_name\":\"" + name + "\",\"verb\":\"" + verb +
                       "\",\"timeout_ms\":5000,\"priority\":0,\"expects_response\":true,\"return_type\":\"\",\"params\":" + params + "}";
    if (!send<Message>(*pair.requests, COMMAND, static_cast<std::uint64_t>(id), verb == "BAD-JSON" ? params : json)) return 3;
    do {
      if (!receive(*pair.responses, message, 20000)) return 4;
    } while (message.type == HEARTBEAT);
    std::string payload(message.payload, message.payload_size);
    std::cout << message.type << " " << message.id << " " << payload << "\n";
  }
  send<Message>(*pair.requests, SHUTDOWN);
  return 0;
}

template <class Message>
static int limit_echo(const std::string &name, const std::string &how) {
  Pair<Message> pair(name, how);
  Message message;
  while (receive(*pair.requests, message, 60000)) {
    pair.responses->timed_send(&message, sizeof message, 0, in_ms(1000));
    if (message.type == SHUTDOWN) return 0;
  }
  return 2;
}

template <class Message>
static int limit(const std::string &name, const std::string &how, int count) {
  Pair<Message> pair(name, how);
  auto message = std::make_unique<Message>();
  std::vector<double> times_us;
  for (int at = -100; at <= count; at++) {
    message->type = at == count ? SHUTDOWN : COMMAND;
    auto start = std::chrono::steady_clock::now();
    if (!pair.requests->timed_send(message.get(), sizeof(Message), 0, in_ms(1000))) return 2;
    if (!receive(*pair.responses, *message, 20000)) return 3;
    std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    if (at >= 0 && at < count) times_us.push_back(took.count());
  }
  for (double time_us : times_us) std::cout << time_us << "\n";
  return 0;
}

static int send_some(const std::string &name, const std::vector<std::string> &priorities) {
  auto to = get(name, false, sizeof(Packed));
  std::uint64_t id = 0;
  for (const auto &priority : priorities)
    if (!send<Packed>(*to, COMMAND, id++, "{}", static_cast<unsigned>(std::stoul(priority)))) return 2;
  return 0;
}

static int receive_some(const std::string &name, int count) {
  auto from = get(name, false, sizeof(Packed));
  for (int at = 0; at < count; at++) {
    Packed message;
    unsigned priority;
    if (!receive(*from, message, 20000, &priority)) return 2;
    std::cout << message.id << " " << priority << " " << message.payload_size << " " << message.payload << "\n";
  }
  return 0;
}

template <class Message>
static int run(const std::vector<std::string> &args) {
  const std::string &mode = args[0];
  if (mode == "echo-worker") return work<Message>(args.at(1), args.at(2));
  if (mode == "server") return serve<Message>(args.at(1), args.at(2), std::stoi(args.at(3)), args.at(4), args.at(5));
  if (mode == "limit-echo") return limit_echo<Message>(args.at(1), args.at(2));
  if (mode == "limit") return limit<Message>(args.at(1), args.at(2), std::stoi(args.at(3)));
  if (mode == "send") return send_some(args.at(1), {args.begin() + 2, args.end()});
  if (mode == "receive") return receive_some(args.at(1), std::stoi(args.at(2)));
  if (mode == "make") {
    queue::remove(args.at(1).c_str());
    queue made(ipc::create_only, args.at(1).c_str(), std::stoul(args.at(2)), std::stoul(args.at(3)));
    return 0;
  }
  std::cerr << "no such mode: " << mode << "\n";
  return 64;
}

int main(int count, char **values) {
  std::vector<std::string> args(values + 1, values + count);
  if (args.empty()) return 64;
  bool native = args.back() == "native";
  if (native) args.pop_back();
  try {
    return native ? run<Native>(args) : run<Packed>(args);
  } catch (const std::exception &error) {
    std::cerr << args[0] << ": " << error.what() << "\n";
    return 65;
  }
}
