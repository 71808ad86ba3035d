-- A dissector of yamux for Wireshark and tshark, 4.0 or newer.
--
--   wireshark -X lua_script:contrib/yamux.lua FILE     then "Decode As..." for a TCP port, or the preference "TCP port"
--   tshark -r FILE -X lua_script:contrib/yamux.lua -d tcp.port==4001,yamux
--
-- A copy in the folder of personal Lua plugins ("About Wireshark", "Folders") is always loaded, but for root: newer
-- versions run no scripts of root's. What to filter by:
--
--   yamux.stream == 3                           the frames of a stream
--   yamux.flags.rst == 1 || yamux.type == 3     what ended streams and connections; yamux.code tells why
--   yamux && _ws.expert                         what is wrong or odd
--
-- It reads plain yamux on TCP, from the first byte of each direction on. What is encrypted has to be captured inside of
-- the encryption. What is spoken before yamux, such as multistream-select, is not read: it is shown as a fault, and the
-- frames begin with the first segment after it that starts with a header.
--
-- Frames are not put together by TCP's reassembly: a header may announce a body of up to 4 GiB, and is wanted when it
-- comes, not when that is complete. Each direction of a connection is followed from segment to segment instead: how
-- much of a body is still to come, or what has come of a header. So a header that is cut appears in the segment that
-- has its last byte, and a body in pieces, each in its own segment. Where a capture lacks only parts of bodies, nothing
-- else suffers; where it has segments in another order, TCP's preference "Reassemble out-of-order segments" helps.

local yamux = Proto("yamux", "Yamux")

local HEADER_LEN = 12
local DATA, WINDOW_UPDATE, PING, GO_AWAY = 0, 1, 2, 3
local TYPES = { [DATA] = "Data", [WINDOW_UPDATE] = "WindowUpdate", [PING] = "Ping", [GO_AWAY] = "GoAway" }
-- From the lowest bit up.
local FLAGS = { "syn", "ack", "fin", "rst" }
local KNOWN_FLAGS = 0xf
local SEQUENCE_NUMBERS = 0x100000000

local fields = {
    version = ProtoField.uint8("yamux.version", "Version"),
    type = ProtoField.uint8("yamux.type", "Type", base.DEC, TYPES),
    flags = ProtoField.uint16("yamux.flags", "Flags", base.HEX),
    syn = ProtoField.bool("yamux.flags.syn", "SYN", 16, nil, 0x1, "The stream is opened; of a ping: a request"),
    ack = ProtoField.bool("yamux.flags.ack", "ACK", 16, nil, 0x2, "The stream is accepted; of a ping: a reply"),
    fin = ProtoField.bool("yamux.flags.fin", "FIN", 16, nil, 0x4, "The sender writes no more"),
    rst = ProtoField.bool("yamux.flags.rst", "RST", 16, nil, 0x8, "The stream ends now, in both directions"),
    stream = ProtoField.uint32("yamux.stream", "Stream", base.DEC, nil, nil, "0 is the connection as a whole"),
    length = ProtoField.uint32("yamux.length", "Length", base.DEC, nil, nil, "Bytes of body in this frame"),
    credit = ProtoField.uint32("yamux.credit", "Credit", base.DEC, nil, nil, "Bytes that may be sent in addition"),
    code = ProtoField.uint32("yamux.code", "Error code"),
    ping = ProtoField.uint32("yamux.ping", "Value", base.HEX, nil, nil, "Opaque, and repeated by the reply"),
    body = ProtoField.bytes("yamux.body", "Body", base.NONE, "What this segment has of a body"),
}
yamux.fields = fields

local faults = {
    version = ProtoExpert.new("yamux.unknown_version", "Unknown version",
        expert.group.MALFORMED, expert.severity.ERROR),
    type = ProtoExpert.new("yamux.unknown_type", "Unknown type",
        expert.group.MALFORMED, expert.severity.ERROR),
    stream = ProtoExpert.new("yamux.stream_zero", "A Data or WindowUpdate frame without a stream",
        expert.group.PROTOCOL, expert.severity.ERROR),
    ignored = ProtoExpert.new("yamux.ignored", "Set, but without a meaning here",
        expert.group.PROTOCOL, expert.severity.NOTE),
    lost = ProtoExpert.new("yamux.out_of_step", "Where the next frame starts is not known",
        expert.group.SEQUENCE, expert.severity.WARN),
}
yamux.experts = faults

-- Where a segment stands in its direction of its connection.
local tcp_stream, tcp_seq, tcp_len = Field.new("tcp.stream"), Field.new("tcp.seq"), Field.new("tcp.len")

-- Directions of connections, as the segments that were read so far have left them:
--   body    bytes that are still to come of the body that is under way, and
--   stream  its stream
--   head    what has come of a header
--   lost    whether it is unknown where the next header starts
--   next    the sequence number of the next byte
local flows = {}
-- What `enter` gave for each segment. A capture is read once in its order, and after that in the order of clicks.
local entered = {}

-- In the order of their use, as they stand below.
local enter, skip, element, plausible, is_of_a_stream, out_of_step, part_of_header
local frame, add_header, add_flags, add_value, more_of_body, add_body

function yamux.dissector(tvb, pinfo, tree)
    local flow, offset = enter(tvb, pinfo)
    local told = {}
    while offset < tvb:len() do
        offset, told[#told + 1] = element(flow, tvb, offset, tree, pinfo)
    end
    skip(flow, tvb:reported_len() - tvb:len())
    -- Nothing is told of bytes that came for a second time.
    if #told > 0 then
        pinfo.cols.protocol = "yamux"
        pinfo.cols.info = table.concat(told, ", ")
    end
    return tvb:len()
end

-- Called when a file is opened, and before all of it is read anew.
function yamux.init()
    flows, entered = {}, {}
end

local function copy(flow)
    return { body = flow.body, stream = flow.stream, head = flow.head, lost = flow.lost, next = flow.next }
end

-- What a field has in the innermost layer that has it.
local function innermost(field)
    local all = { field() }
    return #all > 0 and all[#all].value or nil
end

-- The state of the flow before a segment, and the offset at which bytes begin that are new to it.
function enter(tvb, pinfo)
    local len, connection = tvb:reported_len(), tostring(innermost(tcp_stream))
    -- The rest is for packets that have several segments.
    local place = table.concat({ pinfo.number, connection, len }, "/")
    if pinfo.visited and entered[place] then
        return copy(entered[place].flow), entered[place].offset
    end

    local name = table.concat({ connection, tostring(pinfo.src), pinfo.src_port }, "/")
    local flow = flows[name] or { body = 0, head = ByteArray.new(), lost = false }
    flows[name] = flow
    local offset = 0
    local seq = innermost(tcp_seq)
    if seq then
        -- Of a segment that overlaps what TCP has seen, only the rest may have been handed over.
        seq = seq + math.max(0, innermost(tcp_len) - len)
        local gap = (seq - (flow.next or seq)) % SEQUENCE_NUMBERS
        if gap < SEQUENCE_NUMBERS / 2 then
            skip(flow, gap)
        else
            offset = math.min(SEQUENCE_NUMBERS - gap, len)
        end
        if offset < len then
            flow.next = (seq + len) % SEQUENCE_NUMBERS
        end
    end
    entered[place] = { flow = copy(flow), offset = offset }
    return flow, offset
end

-- Passes over bytes that were not captured.
function skip(flow, bytes)
    if bytes <= flow.body then
        flow.body = flow.body - bytes
    else
        flow.body, flow.head, flow.lost = 0, ByteArray.new(), true
    end
end

-- Shows what is at `offset`. Gives the offset of what follows, and a text for the info column.
function element(flow, tvb, offset, tree, pinfo)
    if flow.body > 0 then
        return more_of_body(flow, tvb, offset, tree)
    end
    -- Whoever writes yamux mostly writes whole frames.
    flow.lost = flow.lost and not (offset == 0 and plausible(tvb))
    if flow.lost then
        return out_of_step(tvb, offset, tree, pinfo)
    elseif flow.head:len() + tvb:len() - offset < HEADER_LEN then
        return part_of_header(flow, tvb, offset, tree)
    else
        return frame(flow, tvb, offset, tree)
    end
end

-- Whether a buffer starts with what is hardly anything but a header.
function plausible(tvb)
    if tvb:len() < HEADER_LEN then
        return false
    end
    local version, kind, flags, stream = tvb(0, 1):uint(), tvb(1, 1):uint(), tvb(2, 2):uint(), tvb(4, 4):uint()
    return version == 0 and TYPES[kind] ~= nil and flags <= KNOWN_FLAGS and is_of_a_stream(kind) == (stream ~= 0)
end

-- Whether frames of a type belong to a stream, rather than to the connection.
function is_of_a_stream(kind)
    return kind == DATA or kind == WINDOW_UPDATE
end

function out_of_step(tvb, offset, tree, pinfo)
    local rest = tvb(offset)
    tree:add(yamux, rest, "Yamux, out of step"):add_proto_expert_info(faults.lost)
    Dissector.get("data"):call(rest:tvb(), pinfo, tree)
    return tvb:len(), "out of step"
end

function part_of_header(flow, tvb, offset, tree)
    local part = tvb(offset)
    flow.head = flow.head .. part:bytes()
    local text = ("header, %d of %d bytes"):format(flow.head:len(), HEADER_LEN)
    tree:add(yamux, part, "Yamux, " .. text)
    return tvb:len(), text
end

-- Shows a header and what is there of its body.
function frame(flow, tvb, offset, tree)
    local missing = HEADER_LEN - flow.head:len()
    local header = tvb(offset, missing)
    offset = offset + missing
    if missing < HEADER_LEN then
        header = (flow.head .. header:bytes()):tvb("Header from several segments")()
        flow.head = ByteArray.new()
    end

    local item = tree:add(yamux, header)
    local known, text = add_header(item, header)
    item:set_text("Yamux, " .. text)
    flow.lost = not known
    if known and header(1, 1):uint() == DATA then
        flow.body, flow.stream = header(8, 4):uint(), header(4, 4):uint()
        offset = add_body(flow, tvb, offset, item)
    end
    return offset, text
end

-- Shows a header. Gives whether it is known what follows such a header, and a line about it.
function add_header(item, header)
    local version, kind, stream = header(0, 1):uint(), header(1, 1):uint(), header(4, 4):uint()
    local version_item = item:add(fields.version, header(0, 1))
    local type_item = item:add(fields.type, header(1, 1))
    local flags_item, flags_text = add_flags(item, header(2, 2))
    local stream_item = item:add(fields.stream, header(4, 4))
    local value_text = add_value(item, header)

    if version ~= 0 then
        version_item:add_proto_expert_info(faults.version)
        return false, "unknown version " .. version
    elseif not TYPES[kind] then
        type_item:add_proto_expert_info(faults.type)
        return false, "unknown type " .. kind
    end
    if is_of_a_stream(kind) and stream == 0 then
        stream_item:add_proto_expert_info(faults.stream)
    elseif not is_of_a_stream(kind) and stream ~= 0 then
        stream_item:add_proto_expert_info(faults.ignored)
    end
    if header(2, 2):uint() > KNOWN_FLAGS then
        flags_item:add_proto_expert_info(faults.ignored)
    end
    local stream_text = is_of_a_stream(kind) and (" stream=" .. stream) or ""
    return true, TYPES[kind] .. flags_text .. stream_text .. value_text
end

function add_flags(item, range)
    local flags_item, names = item:add(fields.flags, range), {}
    for bit, flag in ipairs(FLAGS) do
        flags_item:add(fields[flag], range)
        -- Bits are counted from the left here.
        if range:bitfield(16 - bit) == 1 then
            names[#names + 1] = flag:upper()
        end
    end
    local text = #names > 0 and (" [" .. table.concat(names, ", ") .. "]") or ""
    flags_item:append_text(text)
    return flags_item, text
end

-- The last field of a header is a different one for each type.
function add_value(item, header)
    local kind, value = header(1, 1):uint(), header(8, 4)
    local resets = kind == WINDOW_UPDATE and header(2, 2):bitfield(12) == 1
    if kind == DATA then
        item:add(fields.length, value)
        return " length=" .. value:uint()
    elseif kind == GO_AWAY or resets then
        item:add(fields.code, value)
        return " code=" .. value:uint()
    elseif kind == WINDOW_UPDATE then
        item:add(fields.credit, value)
        return " credit=" .. value:uint()
    elseif kind == PING then
        item:add(fields.ping, value)
        return (" value=0x%08x"):format(value:uint())
    end
    return ""
end

-- Shows what is there of the rest of a body.
function more_of_body(flow, tvb, offset, tree)
    local item = tree:add(yamux, tvb(offset, math.min(flow.body, tvb:len() - offset)))
    local after = add_body(flow, tvb, offset, item)
    local text = ("more of a body, stream=%d bytes=%d"):format(flow.stream, after - offset)
    item:set_text("Yamux, " .. text)
    return after, text
end

function add_body(flow, tvb, offset, item)
    local len = math.min(flow.body, tvb:len() - offset)
    if len > 0 then
        flow.body = flow.body - len
        local to_come = flow.body > 0 and (", %d to come"):format(flow.body) or ""
        item:add(fields.body, tvb(offset, len)):append_text((" (bytes: %d%s)"):format(len, to_come))
    end
    return offset + len
end

-- 'Decode As' and `tshark -d` find the dissector without a port, too.
local tcp_ports = DissectorTable.get("tcp.port")
tcp_ports:add_for_decode_as(yamux)

yamux.prefs.port = Pref.uint("TCP port", 0, "Connections from and to this port are taken for yamux; 0 for none")
local port = 0

function yamux.prefs_changed()
    if port ~= 0 then
        tcp_ports:remove(port, yamux)
    end
    port = yamux.prefs.port
    if port ~= 0 then
        tcp_ports:add(port, yamux)
    end
end
